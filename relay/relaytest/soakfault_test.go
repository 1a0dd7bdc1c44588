//go:build unix

package relaytest

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"time"

	"sidecast/relay/relaytest/faultproxy"
)

// soakFaults are the things that are done in a run, each of which is over when it returns.
var soakFaults = []struct {
	name string
	do   func(w *soakWorld, f Fault)
}{
	{"redis kill -9", (*soakWorld).killRedis},
	{"redis SIGSTOP", (*soakWorld).stopRedis},
	{"CLIENT KILL TYPE pubsub", (*soakWorld).clientKill},
	{"black hole", (*soakWorld).blackHole},
	{"RST in a message", (*soakWorld).resetLink},
	{"output buffer kick", (*soakWorld).kick},
	{"slow link", (*soakWorld).slowLink},
	{"reset of a slow link", (*soakWorld).resetSlow},
	{"relay kill -9", (*soakWorld).killRelay},
	{"relay drain", (*soakWorld).drainRelay},
	{"relay SIGSTOP", (*soakWorld).stopRelay},
}

// trouble does some of them within the time, and then lets all heal.
func (w *soakWorld) trouble(lasting time.Duration) {
	w.length = lasting
	n := 3 + w.random.IntN(6)
	if lasting < 10*time.Second {
		n = 2
	}
	over := time.Now().Add(lasting)
	for i := range n {
		left := time.Until(over) / time.Duration(n-i)
		if left <= 0 {
			break
		}
		pause := left/4 + time.Duration(w.random.Int64N(int64(left/2)))
		w.awaitTick(pause)
		fault := soakFaults[w.random.IntN(len(soakFaults))]
		for !wanted(fault.name) {
			fault = soakFaults[w.random.IntN(len(soakFaults))]
		}
		fault.do(w, Fault{Name: fault.name, Gap: Any, Offline: Any})
	}
	w.awaitTick(max(time.Until(over), 0))
	for _, r := range w.relays {
		r.now.AwaitReady()
	}
}

// wanted reports whether a fault is to be done.
func wanted(name string) bool {
	part, not := strings.CutPrefix(*soakOnly, "!")
	return strings.Contains(name, part) != not
}

// lasting draws how long something is broken, so that watchdogs see some and not others.
func (w *soakWorld) lasting(most time.Duration) time.Duration {
	most = min(most, max(w.length/4, 2*time.Second))
	return time.Duration(w.random.Int64N(int64(most)))
}

func (w *soakWorld) some() *soakRelay { return w.relays[w.random.IntN(len(w.relays))] }

func (w *soakWorld) killRedis(f Fault) {
	fault := w.faults.Begin(f)
	w.server.Kill()
	w.awaitTick(w.lasting(3 * time.Second))
	w.server.Restart()
	fault.Undone()
}

func (w *soakWorld) stopRedis(f Fault) {
	fault := w.faults.Begin(f)
	w.server.Stop()
	w.awaitTick(w.lasting(14 * time.Second))
	w.server.Cont()
	fault.Undone()
}

func (w *soakWorld) clientKill(f Fault) {
	fault := w.faults.Begin(f)
	w.server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
	fault.Undone()
}

func (w *soakWorld) blackHole(f Fault) {
	r := w.some()
	f.Relay, _ = r.where()
	way := [][]faultproxy.Direction{faultproxy.Both, {faultproxy.ToClient}, {faultproxy.ToServer}}[w.random.IntN(3)]
	f.Name = fmt.Sprintf("%s %v", f.Name, way)
	fault := w.faults.Begin(f)
	r.proxy.Hold(way...)
	w.awaitTick(w.lasting(16 * time.Second))
	r.proxy.Release(way...)
	fault.Undone()
}

func (w *soakWorld) resetLink(f Fault) {
	r := w.some()
	f.Relay, _ = r.where()
	fault := w.faults.Begin(f)
	r.proxy.ResetAfter(faultproxy.ToClient, 1+w.random.IntN(2000))
	w.awaitTick(w.lasting(3 * time.Second))
	r.proxy.ResetAfter(faultproxy.ToClient, -1)
	fault.Undone()
}

// kick makes Redis drop the link of a relay that does not read. Others may be too slow for so little a buffer, too.
func (w *soakWorld) kick(f Fault) {
	r := w.some()
	fault := w.faults.Begin(f)
	w.server.CLI("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 512kb 1")
	r.proxy.Hold(faultproxy.ToClient)
	burst := bytes.Repeat([]byte("x"), 256<<10)
	for range 40 {
		_ = w.client.Publish(w.t.Context(), "soak:burst", burst).Err() // nobody listens
	}
	w.awaitTick(500 * time.Millisecond)
	r.proxy.Release(faultproxy.ToClient)
	w.server.CLI("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
	fault.Undone()
}

// slowLink is no fault that explains anything, as long as the relay's own probe is content.
func (w *soakWorld) slowLink(Fault) {
	r := w.some()
	r.proxy.Delay(faultproxy.ToClient, time.Second, 500*time.Millisecond)
	w.awaitTick(w.lasting(6 * time.Second))
	r.proxy.Delay(faultproxy.ToClient, 0, 0)
}

// resetSlow breaks a link that lags, and lets the next one lag: what others heard long ago comes to this relay late.
func (w *soakWorld) resetSlow(f Fault) {
	r := w.some()
	r.proxy.Delay(faultproxy.ToClient, 800*time.Millisecond, 400*time.Millisecond)
	w.awaitTick(time.Second)
	f.Relay, _ = r.where()
	fault := w.faults.Begin(f)
	r.proxy.Reset()
	w.awaitTick(3*time.Second + w.lasting(4*time.Second))
	r.proxy.Delay(faultproxy.ToClient, 0, 0)
	fault.Undone()
}

func (w *soakWorld) killRelay(f Fault) {
	r := w.some()
	f.Relay, _ = r.where()
	r.shut()
	fault := w.faults.Begin(f)
	r.now.Kill()
	fault.Undone()
	w.awaitTick(w.lasting(3 * time.Second))
	r.start()
	r.open()
}

func (w *soakWorld) drainRelay(f Fault) {
	r := w.some()
	f.Relay, _ = r.where()
	f.Gap, f.Offline = Never, Never
	r.shut()
	fault := w.faults.Begin(f)
	r.now.Signal(syscall.SIGTERM)
	r.now.Wait()
	fault.Undone()
	r.start()
	r.open()
}

func (w *soakWorld) stopRelay(f Fault) {
	r := w.some()
	f.Relay, _ = r.where()
	fault := w.faults.Begin(f)
	r.now.Pause()
	w.awaitTick(w.lasting(14 * time.Second))
	r.now.Continue()
	fault.Undone()
}
