//go:build unix

package relaytest

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"sidecast/relay/relaytest/faultproxy"
)

// A soakFault is a fault of production, at one random relay unless all is set.
type soakFault struct {
	name        string
	all         bool          // it affects all relays
	drains      bool          // it explains neither a gap nor an offline notice
	excusesNone bool          // it does not even explain the end of a connection, so it is not logged
	longest     time.Duration // how long it lasts at most; 0: it is undone at once
	begin, undo func(w *soakWorld, r *soakRelay)
}

const relayKill = "relay kill -9"

// soakFaults are the faults of a run.
var soakFaults = []soakFault{
	{name: "redis kill -9", all: true, longest: 3 * time.Second,
		begin: func(w *soakWorld, _ *soakRelay) { w.server.Kill() },
		undo:  func(w *soakWorld, _ *soakRelay) { w.server.Restart() }},
	{name: "redis SIGSTOP", all: true, longest: 14 * time.Second,
		begin: func(w *soakWorld, _ *soakRelay) { w.server.Stop() },
		undo:  func(w *soakWorld, _ *soakRelay) { w.server.Cont() }},
	{name: "CLIENT KILL TYPE pubsub", all: true,
		begin: func(w *soakWorld, _ *soakRelay) { w.server.CLI("CLIENT", "KILL", "TYPE", "pubsub") }},
	{name: "black hole", longest: 16 * time.Second,
		begin: func(w *soakWorld, r *soakRelay) { r.proxy.Hold(randomWay(w.random)...) },
		undo:  func(_ *soakWorld, r *soakRelay) { r.proxy.Release(faultproxy.Both...) }},
	{name: "RST in a message", longest: 3 * time.Second,
		begin: func(w *soakWorld, r *soakRelay) { r.proxy.ResetAfter(faultproxy.ToClient, 1+w.random.IntN(2000)) },
		undo:  func(_ *soakWorld, r *soakRelay) { r.proxy.ResetAfter(faultproxy.ToClient, -1) }},
	// The small buffer may be too small for other relays, too.
	{name: "output buffer kick", all: true, begin: (*soakWorld).kick, undo: func(w *soakWorld, r *soakRelay) {
		r.proxy.Release(faultproxy.ToClient)
		w.server.CLI("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
	}},
	// The delay is shorter than the relay's probe allows.
	{name: "slow link", excusesNone: true, longest: 6 * time.Second,
		begin: func(_ *soakWorld, r *soakRelay) {
			r.proxy.Delay(faultproxy.ToClient, time.Second, 500*time.Millisecond)
		},
		undo: func(_ *soakWorld, r *soakRelay) { r.proxy.Delay(faultproxy.ToClient, 0, 0) }},
	// The next connection is slow, too: this relay receives messages long after
	// the others.
	{name: "reset of a slow link", longest: 7 * time.Second,
		begin: func(w *soakWorld, r *soakRelay) {
			r.proxy.Delay(faultproxy.ToClient, 800*time.Millisecond, 400*time.Millisecond)
			w.wait(time.Second)
			r.proxy.Reset()
		},
		undo: func(_ *soakWorld, r *soakRelay) { r.proxy.Delay(faultproxy.ToClient, 0, 0) }},
	{name: relayKill, longest: 3 * time.Second, undo: (*soakWorld).restartRelay,
		begin: func(w *soakWorld, r *soakRelay) {
			r.close()
			w.killed[r.name] = true
			r.process.Kill()
		}},
	{name: "relay drain", drains: true, undo: (*soakWorld).restartRelay, begin: func(_ *soakWorld, r *soakRelay) {
		r.close()
		r.process.Signal(syscall.SIGTERM)
		r.process.Wait()
	}},
	{name: "relay SIGSTOP", longest: 14 * time.Second,
		begin: func(_ *soakWorld, r *soakRelay) { r.process.Pause() },
		undo:  func(_ *soakWorld, r *soakRelay) { r.process.Continue() }},
}

// inject returns after the fault was undone.
func (w *soakWorld) inject(f soakFault) {
	r := w.relays[w.random.IntN(len(w.relays))]
	logged := Fault{Name: f.name, Gap: Any, Offline: Any}
	if !f.all {
		logged.Relay, _ = r.where()
	}
	if f.drains {
		logged.Gap, logged.Offline = Never, Never
	}
	if !f.excusesNone {
		defer w.faults.Begin(logged).Undone()
	}
	f.begin(w, r)
	if f.longest > 0 {
		w.wait(w.lasting(f.longest))
	}
	if f.undo != nil {
		f.undo(w, r)
	}
}

// kick makes Redis drop the connection of a relay that does not read.
func (w *soakWorld) kick(r *soakRelay) {
	w.server.CLI("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 512kb 1")
	r.proxy.Hold(faultproxy.ToClient)
	burst := bytes.Repeat([]byte("x"), 256<<10)
	for range 40 {
		_ = w.redis.Publish(w.t.Context(), "soak:burst", burst).Err() // no client is subscribed
	}
	w.wait(500 * time.Millisecond)
}

func (w *soakWorld) restartRelay(r *soakRelay) {
	r.start()
	r.open()
}

// randomWay returns one direction of a connection or both.
func randomWay(random *rand.Rand) []faultproxy.Direction {
	return [][]faultproxy.Direction{faultproxy.Both, {faultproxy.ToClient}, {faultproxy.ToServer}}[random.IntN(3)]
}

// injectFaults injects some of them within this time, and waits until the
// relays are ready again.
func (w *soakWorld) injectFaults(lasting time.Duration) {
	w.length = lasting
	n := 3 + w.random.IntN(6)
	if lasting < 10*time.Second {
		n = 2
	}
	kill := -1 // each run has one, so that black boxes outlive their relays
	if selected(relayKill) {
		kill = n / 2
	}
	over := time.Now().Add(lasting)
	for i := range n {
		left := time.Until(over) / time.Duration(n-i)
		if left <= 0 {
			break
		}
		pause := left/4 + time.Duration(w.random.Int64N(int64(left/2)))
		w.wait(pause)
		fault := soakFaults[w.random.IntN(len(soakFaults))]
		for !selected(fault.name) || i == kill && fault.name != relayKill {
			fault = soakFaults[w.random.IntN(len(soakFaults))]
		}
		w.inject(fault)
	}
	w.wait(max(time.Until(over), 0))
	for _, r := range w.relays {
		r.process.AwaitReady()
	}
}

// selected reports whether the flag -faults selects a fault.
func selected(name string) bool {
	part, not := strings.CutPrefix(*soakOnly, "!")
	return strings.Contains(name, part) != not
}

// lasting draws how long a fault lasts, so that watchdogs notice some faults
// and not others.
func (w *soakWorld) lasting(most time.Duration) time.Duration {
	most = min(most, max(w.length/4, 2*time.Second))
	return time.Duration(w.random.Int64N(int64(most)))
}
