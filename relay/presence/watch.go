package presence

import (
	"context"
	"errors"
	"time"

	"sidecast/relay/roster"
)

// loadTimeout bounds how long a client waits for the members of a channel.
const loadTimeout = time.Second

// ErrUnheard reports that the relay may not receive changes from Redis, so that
// it cannot tell clients who is present.
var ErrUnheard = errors.New("the relay receives no changes of members")

// A watched is a channel whose members this relay knows, because clients watch
// it.
type watched struct {
	channel string
	roster  *roster.Roster
	loaded  chan struct{} // closed when it was loaded once

	// Guarded by the mu of its Presence.
	clients int
	loadAt  time.Duration // when to load it; never if it is 0

	// count is the number of members of a large channel on its way to the
	// clients. At countAt the next of the parts that are left receives it; after
	// the last one, a new number is looked for.
	count   roster.Update
	left    int
	countAt time.Duration
}

// Watch counts a client that watches a channel, and returns the channel's
// members. It waits a short time until they are known, unless Redis is
// unavailable; if they still are not, clients are notified later.
// [Presence.Unwatch] must be called in the end, unless there is an error.
func (p *Presence) Watch(ctx context.Context, channel string) (*roster.Roster, error) {
	w, wait, err := p.addWatcher(channel)
	if !wait {
		return w.roster, err
	}
	timeout := time.NewTimer(loadTimeout)
	defer timeout.Stop()
	select {
	case <-w.loaded:
	case <-ctx.Done():
	case <-timeout.C:
	}
	return w.roster, nil
}

// addWatcher adds a client that watches a channel, and reports whether its
// members may be known soon.
func (p *Presence) addWatcher(channel string) (w *watched, wait bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link == linkDeaf {
		return &watched{}, false, ErrUnheard
	}
	w = p.watched[channel]
	if w == nil {
		w = &watched{
			channel: channel, roster: roster.New(p.cfg.MaxMembers, &p.numbers), loaded: make(chan struct{}), loadAt: 1,
		}
		p.watched[channel] = w
		p.busy[channel] = w
		p.awake()
	}
	w.clients++
	p.stats.PresenceWatchers.Add(1)
	return w, p.link == linkUp, nil
}

// Unwatch ends what Watch began.
func (p *Presence) Unwatch(channel string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.watched[channel]
	if w == nil {
		return
	}
	p.stats.PresenceWatchers.Add(-1)
	if w.clients--; w.clients == 0 {
		delete(p.watched, channel)
		delete(p.busy, channel)
	}
}
