package relay_test

import (
	"fmt"
	"slices"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stream"
)

// step is one thing that happens.
func (w *durableWorld) step() {
	r := w.relays[w.random.IntN(len(w.relays))]
	switch op := w.random.IntN(100); {
	case op < 30:
		w.say()
	case op < 45:
		r.hear(w.random.IntN(3) == 0)
	case op < 50:
		w.spoil()
	case op < 55:
		w.fail(r)
	case op < 62:
		time.Sleep(time.Duration(w.random.IntN(1500)) * time.Millisecond)
	case op == 62 && w.random.IntN(3) == 0:
		time.Sleep(time.Duration(w.random.IntN(15)) * time.Second)
	default:
		w.people[w.random.IntN(len(w.people))].act(r)
	}
	w.pause()
}

// say is a backend that adds entries.
func (w *durableWorld) say() {
	channel := w.channels[w.random.IntN(len(w.channels))]
	n := 1 + w.random.IntN(4)
	if w.random.IntN(8) == 0 {
		n = w.random.IntN(60)
	}
	for range n {
		w.vault.add(channel, w.vault.id(w.random, channel), w.vault.fields(w.random), "", w.maxlen)
	}
}

// spoil takes something away.
func (w *durableWorld) spoil() {
	channel := w.channels[w.random.IntN(len(w.channels))]
	switch op := w.random.IntN(12); {
	case op < 4:
		w.vault.remove(channel, w.random.IntN(3)*w.random.IntN(4))
	case op < 7:
		w.vault.trim(channel, w.random.IntN(30))
	case op < 10:
		w.vault.reset(channel)
		if w.random.IntN(3) > 0 {
			w.say()
		}
	default: // a failover breaks all links
		for _, r := range w.relays {
			r.link(false)
		}
		for _, channel := range w.channels {
			w.vault.rollBack(channel, w.random.IntN(5))
		}
		for _, r := range w.relays {
			if w.random.IntN(3) > 0 {
				r.link(true)
			}
		}
	}
}

// fail breaks or mends a relay's link, or its way to the streams.
func (w *durableWorld) fail(r *durableRelay) {
	r.mu.Lock()
	up, failing := r.up, r.trouble != troubleNone
	r.mu.Unlock()
	switch op := w.random.IntN(6); {
	case !up && op > 0:
		r.link(true)
	case op == 1:
		r.link(false)
	case failing && op < 5:
		r.suffer(troubleNone)
	default:
		r.suffer(trouble(w.random.IntN(int(numTroubles))))
	}
}

func (r *durableRelay) suffer(t trouble) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = t
}

// forget loses all nudges of a channel that are on their way.
func (w *durableWorld) forget(channel string) {
	for _, r := range w.relays {
		r.mu.Lock()
		r.nudges = slices.DeleteFunc(r.nudges, func(name string) bool { return name == channel })
		r.mu.Unlock()
	}
}

// quiet is how long it takes until a lost nudge is found out.
const quiet = 12 * time.Second

// end ends all trouble, waits until everybody has what there is, and ends all lives.
func (w *durableWorld) end() {
	for _, r := range w.relays {
		r.suffer(troubleNone)
		r.link(true)
	}
	for _, p := range w.people {
		if p.now != nil {
			p.now.socket.Give(outboxtest.Unlimited)
		}
	}
	synctest.Wait()
	for range 2 {
		time.Sleep(quiet) // whoever waits, or was told to try again
		synctest.Wait()
		for _, channel := range w.channels {
			w.vault.add(channel, w.vault.id(w.random, channel), []string{stream.PayloadField, fmt.Sprintf("#%d:", len(w.vault.log)+1)}, "", 0)
			if w.vault.straight(channel) && w.random.IntN(2) == 0 {
				w.forget(channel)
			}
		}
		for _, r := range w.relays {
			r.hear(false)
		}
	}
	time.Sleep(quiet)
	synctest.Wait()
	for _, l := range w.lives {
		l.settle()
	}
	for i, r := range w.relays {
		if n := r.hub.Sessions(); n != 0 {
			w.t.Errorf("relay %d: %d sessions are left", i, n)
		}
		if channels, subs := r.stats.Channels.Load(), r.stats.Subscriptions.Load(); channels != 0 || subs != 0 {
			w.t.Errorf("relay %d: %d channels and %d subscriptions are left", i, channels, subs)
		}
		if used, kept := r.budget.Used(), r.hub.RingBytes(); used != 0 || kept != 0 {
			w.t.Errorf("relay %d: %d bytes are still charged, %d kept", i, used, kept)
		}
		r.stop()
	}
}
