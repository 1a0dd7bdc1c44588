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

// soakFaults are the faults of a run. Each function returns after its fault was
// undone.
var soakFaults = []struct {
	name   string
	inject func(w *soakWorld, f Fault)
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

// injectFaults injects some of them within this time, and waits until the
// relays are ready again.
func (w *soakWorld) injectFaults(lasting time.Duration) {
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
		w.wait(pause)
		fault := soakFaults[w.random.IntN(len(soakFaults))]
		for !selected(fault.name) {
			fault = soakFaults[w.random.IntN(len(soakFaults))]
		}
		fault.inject(w, Fault{Name: fault.name, Gap: Any, Offline: Any})
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

// randomRelay returns one of the relays.
func (w *soakWorld) randomRelay() *soakRelay { return w.relays[w.random.IntN(len(w.relays))] }

func (w *soakWorld) killRedis(f Fault) {
	fault := w.faults.Begin(f)
	w.server.Kill()
	w.wait(w.lasting(3 * time.Second))
	w.server.Restart()
	fault.Undone()
}

func (w *soakWorld) stopRedis(f Fault) {
	fault := w.faults.Begin(f)
	w.server.Stop()
	w.wait(w.lasting(14 * time.Second))
	w.server.Cont()
	fault.Undone()
}

func (w *soakWorld) clientKill(f Fault) {
	fault := w.faults.Begin(f)
	w.server.CLI("CLIENT", "KILL", "TYPE", "pubsub")
	fault.Undone()
}

func (w *soakWorld) blackHole(f Fault) {
	r := w.randomRelay()
	f.Relay, _ = r.where()
	way := [][]faultproxy.Direction{faultproxy.Both, {faultproxy.ToClient}, {faultproxy.ToServer}}[w.random.IntN(3)]
	f.Name = fmt.Sprintf("%s %v", f.Name, way)
	fault := w.faults.Begin(f)
	r.proxy.Hold(way...)
	w.wait(w.lasting(16 * time.Second))
	r.proxy.Release(way...)
	fault.Undone()
}

func (w *soakWorld) resetLink(f Fault) {
	r := w.randomRelay()
	f.Relay, _ = r.where()
	fault := w.faults.Begin(f)
	r.proxy.ResetAfter(faultproxy.ToClient, 1+w.random.IntN(2000))
	w.wait(w.lasting(3 * time.Second))
	r.proxy.ResetAfter(faultproxy.ToClient, -1)
	fault.Undone()
}

// kick makes Redis drop the connection of a relay that does not read. Other
// relays may be too slow for the small buffer, too.
func (w *soakWorld) kick(f Fault) {
	r := w.randomRelay()
	fault := w.faults.Begin(f)
	w.server.CLI("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 512kb 1")
	r.proxy.Hold(faultproxy.ToClient)
	burst := bytes.Repeat([]byte("x"), 256<<10)
	for range 40 {
		_ = w.redis.Publish(w.t.Context(), "soak:burst", burst).Err() // no client is subscribed
	}
	w.wait(500 * time.Millisecond)
	r.proxy.Release(faultproxy.ToClient)
	w.server.CLI("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
	fault.Undone()
}

// slowLink delays the connection less than the relay's probe allows, which
// excuses nothing.
func (w *soakWorld) slowLink(Fault) {
	r := w.randomRelay()
	r.proxy.Delay(faultproxy.ToClient, time.Second, 500*time.Millisecond)
	w.wait(w.lasting(6 * time.Second))
	r.proxy.Delay(faultproxy.ToClient, 0, 0)
}

// resetSlow resets a slow connection, and delays the next one: this relay
// receives messages long after the others.
func (w *soakWorld) resetSlow(f Fault) {
	r := w.randomRelay()
	r.proxy.Delay(faultproxy.ToClient, 800*time.Millisecond, 400*time.Millisecond)
	w.wait(time.Second)
	f.Relay, _ = r.where()
	fault := w.faults.Begin(f)
	r.proxy.Reset()
	w.wait(3*time.Second + w.lasting(4*time.Second))
	r.proxy.Delay(faultproxy.ToClient, 0, 0)
	fault.Undone()
}

func (w *soakWorld) killRelay(f Fault) {
	r := w.randomRelay()
	f.Relay, _ = r.where()
	r.close()
	fault := w.faults.Begin(f)
	r.process.Kill()
	fault.Undone()
	w.wait(w.lasting(3 * time.Second))
	r.start()
	r.open()
}

func (w *soakWorld) drainRelay(f Fault) {
	r := w.randomRelay()
	f.Relay, _ = r.where()
	f.Gap, f.Offline = Never, Never
	r.close()
	fault := w.faults.Begin(f)
	r.process.Signal(syscall.SIGTERM)
	r.process.Wait()
	fault.Undone()
	r.start()
	r.open()
}

func (w *soakWorld) stopRelay(f Fault) {
	r := w.randomRelay()
	f.Relay, _ = r.where()
	fault := w.faults.Begin(f)
	r.process.Pause()
	w.wait(w.lasting(14 * time.Second))
	r.process.Continue()
	fault.Undone()
}
