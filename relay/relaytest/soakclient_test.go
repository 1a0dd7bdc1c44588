//go:build unix

package relaytest

import (
	"context"
	"math/rand/v2"
	"time"

	"sidecast/relay/relaytest/faultproxy"
)

// A soakTraveller moves between relays, over a network of its own.
type soakTraveller struct {
	*Traveller
	w      *soakWorld
	random *rand.Rand
	proxy  *faultproxy.Proxy
}

func newSoakTraveller(w *soakWorld, i int) *soakTraveller {
	tr := &soakTraveller{w: w, random: rand.New(rand.NewPCG(w.seed, uint64(100+i)))}
	var channels []string
	for _, name := range append(w.channels(false), w.channels(true)...) {
		if tr.random.IntN(3) > 0 || len(channels) == 0 {
			channels = append(channels, name)
		}
	}
	tr.Traveller = NewTraveller(channels...)
	tr.proxy = faultproxy.Start(w.t, "127.0.0.1:1")
	tr.proxy.Trace()
	return tr
}

// live travels until the context ends, and stays where it is then.
func (tr *soakTraveller) live(ctx context.Context) {
	for ctx.Err() == nil {
		if !tr.move(ctx) {
			pause(100*time.Millisecond, ctx.Done())
			continue
		}
		stay := time.Duration(tr.random.ExpFloat64() * float64(3*time.Second))
		if tr.random.IntN(3) == 0 {
			stay = rand.N(200 * time.Millisecond) // perhaps before the answer, or inside a replay
		}
		timer := time.NewTimer(stay)
		select {
		case <-timer.C:
			tr.leave(ctx)
		case <-tr.Client().Done():
			tr.Leave((*Client).Drop)
			pause(rand.N(300*time.Millisecond), ctx.Done())
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// move goes to some relay that is open.
func (tr *soakTraveller) move(ctx context.Context) bool {
	r := tr.w.relays[tr.random.IntN(len(tr.w.relays))]
	name, addr := r.where()
	if addr == "" {
		return false
	}
	tr.proxy.Retarget(addr)
	d := &Dialer{URL: "ws://" + tr.proxy.Addr + "/ws", Relay: name, SentAt: tr.proxy.PassedAt}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return tr.Go(ctx, d) == nil
}

// leave ends the connection in one of the ways in which connections end.
func (tr *soakTraveller) leave(ctx context.Context) {
	c := tr.Client()
	note := func(how string) { c.record(Event{Kind: KindAborted, Text: how}) }
	switch tr.random.IntN(7) {
	case 0:
		tr.Leave((*Client).Drop)
	case 1:
		tr.Leave((*Client).Abort)
	case 2:
		note("the network resets, in the middle of something")
		tr.proxy.ResetAfter(faultproxy.ToClient, 1+tr.random.IntN(300))
		pause(time.Duration(tr.random.IntN(500))*time.Millisecond, ctx.Done())
		tr.proxy.ResetAfter(faultproxy.ToClient, -1)
		tr.Leave((*Client).Drop)
	case 3:
		note("the network ends the connection")
		tr.proxy.Cut()
		tr.Leave((*Client).Drop)
	case 4, 5:
		note("the network goes silent")
		way := [][]faultproxy.Direction{faultproxy.Both, {faultproxy.ToClient}, {faultproxy.ToServer}}[tr.random.IntN(3)]
		tr.proxy.Hold(way...)
		pause(time.Duration(tr.random.IntN(4000))*time.Millisecond, ctx.Done())
		tr.Leave((*Client).Abort)
		tr.proxy.Release(way...)
	case 6: // a slow path, and then away
		tr.proxy.Delay(faultproxy.ToClient, 100*time.Millisecond, 300*time.Millisecond)
		pause(time.Duration(tr.random.IntN(2000))*time.Millisecond, ctx.Done())
		tr.Leave((*Client).Abort)
		tr.proxy.Delay(faultproxy.ToClient, 0, 0)
	}
}

// stay moves a last time, and returns the connection.
func (tr *soakTraveller) stay() *Client {
	deadline := time.Now().Add(Patience)
	for {
		if tr.move(tr.w.t.Context()) {
			if err := tr.Joined(tr.w.t.Context()); err == nil {
				return tr.Client()
			} else if time.Now().After(deadline) {
				tr.w.t.Fatalf("seed %d: %v", tr.w.seed, err)
			}
		}
		if time.Now().After(deadline) {
			tr.w.t.Fatalf("seed %d: %s finds no relay", tr.w.seed, tr.Name())
		}
		pause(100*time.Millisecond, tr.w.t.Context().Done())
	}
}

// A soakListener speaks raw, and is somebody new with each connection.
type soakListener struct {
	w        *soakWorld
	gapClose bool
	random   *rand.Rand
	past     []Session
	now      *Client
}

func (l *soakListener) live(ctx context.Context) {
	for ctx.Err() == nil {
		if !l.come(ctx) {
			pause(100*time.Millisecond, ctx.Done())
			continue
		}
		select {
		case <-l.now.Done():
			l.past, l.now = append(l.past, l.now.Session()), nil
		case <-ctx.Done():
		}
	}
}

func (l *soakListener) come(ctx context.Context) bool {
	name, addr := l.w.relays[l.random.IntN(len(l.w.relays))].where()
	if addr == "" {
		return false
	}
	d := &Dialer{
		URL: "ws://" + addr + "/ws", Relay: name, Protocol: Raw, GapClose: l.gapClose, Channels: l.w.channels(false)[:1],
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c, err := d.Dial(ctx)
	if err == nil {
		l.now = c
	}
	return err == nil
}

// stay makes sure that somebody listens to the end.
func (l *soakListener) stay() {
	if l.now != nil && l.now.over() {
		l.past, l.now = append(l.past, l.now.Session()), nil
	}
	for l.now == nil && !l.come(l.w.t.Context()) {
		if !pause(100*time.Millisecond, l.w.t.Context().Done()) {
			return
		}
	}
	l.w.t.Cleanup(l.now.Drop)
}
