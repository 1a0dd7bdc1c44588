package relay

import (
	"sync"

	"sidecast/relay/blackbox"
	"sidecast/relay/history"
	"sidecast/relay/stream"
)

// A ledger is the hub's record of all messages from Redis, in one order. It
// contains everything that the hub's lock guards. A goroutine that holds a
// shard's mu may enter it, not the other way round.
type ledger struct {
	mu            sync.Mutex
	history       *history.History[fanout]
	batch         batch
	offline       bool
	streamSeq     stream.Seq // of the last item on any durable channel
	streamReaders map[string]*stream.Reader
	unheard       Unheard       // nil if no channel is watched; does not change
	box           *blackbox.Box // does not change
}

// enter locks the ledger, and numbers everything that has arrived first: a
// client's command is ordered after every message that the source has published.
func (l *ledger) enter() {
	l.mu.Lock()
	l.sequenceBatch()
}

func (l *ledger) leave() { l.mu.Unlock() }

// append adds a message that has arrived to the batch, and reports whether that
// must be dispatched now.
func (l *ledger) append(name, payload []byte, large bool, hash uint64) (full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.history.On() && l.history.First(hash) == nil && (l.unheard == nil || !l.unheard.Match(name)) {
		l.history.Seq++ // no subscribers and no history: the message needs no copy
		l.box.Message(nil, name, blackbox.Message{Seq: uint64(l.history.Seq), Size: len(payload), TooLarge: large})
		return false
	}
	return l.batch.add(name, payload, large, hash)
}

// sequenceBatch sequences the messages of the batch that are not yet.
func (l *ledger) sequenceBatch() {
	b := &l.batch
	list := b.list[b.sequenced:]
	for i := range list {
		list[i].channel = l.history.First(list[i].hash)
	}
	l.touch(list)
	removed := l.history.Removed()
	for i := range list {
		in := &list[i]
		if removed == l.history.Removed() {
			in.channel = in.channel.Named(in.name)
		} else {
			in.channel = l.history.Find(in.hash, in.name) // the channel found before may have been removed
		}
		l.sequence(in)
	}
	b.sequenced = len(b.list)
}

// touch has the memory of the channels fetched into the caches. The processor
// waits for all of it at once, because no address depends on the content of
// another channel. Some channels may be nil.
func (l *ledger) touch(list []incoming) {
	for i := range list {
		if ch := list[i].channel; ch != nil {
			l.history.Touched += ch.Touch() + uint64(ch.Hub.first.count.Load())
		}
	}
}

// sequence numbers a message, adds it to the history and determines its
// audience. Its channel is nil if it is not known.
func (l *ledger) sequence(in *incoming) {
	l.history.Seq++
	if l.history.On() {
		if in.channel == nil {
			in.channel = l.history.Channel(string(in.name))
		}
		l.history.Add(in.channel, in.payload, in.large)
	}
	ch := in.channel
	l.record(in)
	if ch == nil || ch.Refs == 0 {
		in.channel = nil
		if l.unheard != nil {
			l.watch(in, ch)
		}
		return
	}
	in.audience = audience{l.history.Seq, ch.Hub.home - 1, ch.Hub.protocols, ch.Hub.echoes}
	if ch.Hub.others.Load() != nil {
		in.audience.home = -1
	}
	if ch.Hub.needsCursors() {
		in.cursor = l.cursorAt(ch.At())
	}
}
