package relay

import (
	"context"
	"time"

	"sidecast/relay/protocol"
)

const (
	// scanChannels is how many channels are read while the hub is locked, which
	// the fan-out needs for each batch.
	scanChannels = 64
	// maxScan bounds how many channels one call of Hub.ScanChannels reads.
	maxScan = 1 << 20
)

// A ChannelState describes a channel at one moment.
type ChannelState struct {
	Offline   bool                       // the link to Redis is lost
	Listeners [protocol.NumProtocols]int // subscriptions that the fan-out reaches
	Joining   int                        // subscriptions that still receive what their clients missed
	Last      time.Time                  // when the last message came, to the second; zero if the history has no message
}

// ChannelState returns the state of a channel. The messages of a durable channel
// are not in the history.
func (h *Hub) ChannelState(name string) (state ChannelState) {
	hash := h.history.Hash([]byte(name))
	h.enter()
	defer h.leave()
	state.Offline = h.offline
	ch := h.history.Find(hash, []byte(name))
	if ch == nil {
		return state
	}
	state.Joining = int(ch.Refs)
	for id, n := range ch.Hub.protocols {
		state.Listeners[id] = int(n)
		state.Joining -= int(n)
	}
	if at, ok := h.history.NewestTime(ch); ok {
		state.Last = h.started.Add(time.Duration(at))
	}
	return state
}

// ScanChannels calls visit for the channels that have subscribers or messages in
// the history, with the number of subscriptions. It reports whether it has seen
// all of them: there can be too many, and ctx can end. It locks the hub for a few
// channels at a time, and not while it calls visit.
func (h *Hub) ScanChannels(ctx context.Context, visit func(name string, subscriptions int, messages bool)) (all bool) {
	type seen struct {
		name          string
		subscriptions int
		messages      bool
	}
	list := make([]seen, 0, scanChannels)
	show := func() {
		for _, s := range list {
			visit(s.name, s.subscriptions, s.messages)
		}
		list = list[:0]
	}
	left := maxScan
	h.mu.Lock()
	for ch := range h.history.Channels() {
		if ch.Refs > 0 || ch.Newest() != 0 {
			list = append(list, seen{ch.Name(), int(ch.Refs), ch.Newest() != 0})
		}
		if left--; left%scanChannels != 0 {
			continue
		}
		h.mu.Unlock()
		show()
		if left == 0 || ctx.Err() != nil {
			return false
		}
		h.mu.Lock()
	}
	h.mu.Unlock()
	show()
	return true
}
