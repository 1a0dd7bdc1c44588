package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// A deployment is several relays on one Redis, and whoever travels between those that take clients.
type deployment struct {
	t        *testing.T
	server   *redistest.Server
	settings map[string]string
	faults   relaytest.FaultLog
	durable  map[string]int // see [relaytest.Run]
	started  int

	mu   sync.Mutex
	open []*replica

	travellers []*relaytest.Traveller
	travelling sync.WaitGroup
	arrive     context.CancelFunc
}

// A replica is one relay process of a deployment.
type replica struct {
	*relaytest.Process
	dialer *relaytest.Dialer
}

// start adds a relay and waits until it takes clients.
func (d *deployment) start() *replica {
	d.t.Helper()
	d.started++
	relay := startRelay(d.t, d.server, d.settings)
	r := &replica{relay, &relaytest.Dialer{URL: relay.URL(), Relay: fmt.Sprintf("relay %d", d.started)}}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = append(d.open, r)
	return r
}

// drain asks a relay to stop, sends nobody there any more, and waits until it has ended.
func (d *deployment) drain(r *replica) (took time.Duration) {
	d.t.Helper()
	d.mu.Lock()
	d.open = slices.DeleteFunc(d.open, func(other *replica) bool { return other == r })
	d.mu.Unlock()
	fault := d.faults.Begin(relaytest.Fault{
		Name: "drain", Relay: r.dialer.Relay, Gap: relaytest.Never, Offline: relaytest.Never, Ends: true,
	})
	began := time.Now()
	terminate(r.Process)
	select {
	case <-r.Exited():
	case <-time.After(time.Minute): // longer than any drain here
	}
	if code := r.Wait(); code != 0 {
		d.t.Errorf("%s ended with %d", r.dialer.Relay, code)
	}
	fault.Settled()
	return time.Since(began)
}

// next is where a load balancer sends somebody.
func (d *deployment) next() *relaytest.Dialer {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open[rand.IntN(len(d.open))].dialer
}

// travel lets n listeners come, each of some of the channels, and come again whenever a relay closes.
func (d *deployment) travel(n int, names []string) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(d.t.Context())
	d.arrive = cancel
	d.t.Cleanup(func() {
		cancel()
		d.travelling.Wait()
		for _, tr := range d.travellers {
			tr.Leave((*relaytest.Client).Drop)
		}
	})
	for i := range n {
		tr := relaytest.NewTraveller(names[i%len(names)], names[(i+1)%len(names)])
		d.travellers = append(d.travellers, tr)
		d.travelling.Go(func() { tr.Roam(ctx, 300*time.Millisecond, d.next) })
	}
}

// home waits until everybody has come back to a relay. A relay that becomes ready while somebody is between two cannot
// know the markers that were heard before: such a one would be told of a gap, rightly.
func (d *deployment) home() {
	d.t.Helper()
	d.mu.Lock()
	open := slices.Clone(d.open)
	d.mu.Unlock()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(relaytest.Patience)
	defer limit.Stop()
	for {
		subscriptions := 0
		for _, r := range open {
			subscriptions += int(metric(d.t, r.Process, "sidecast_subscriptions"))
		}
		if subscriptions == 2*len(d.travellers) {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			d.t.Fatalf("%d subscriptions, want %d", subscriptions, 2*len(d.travellers))
		}
	}
}

// end brings everybody to the end of what was published and judges the run: all who came back were recovered.
func (d *deployment) end(least int, publishers ...*relaytest.Publisher) {
	d.t.Helper()
	d.arrive()
	d.travelling.Wait()
	var fleet relaytest.Fleet
	for _, tr := range d.travellers {
		if tr.Client() == nil { // it was on its way
			if err := tr.Go(d.t.Context(), d.next()); err != nil {
				d.t.Fatal(err)
			}
		}
		if err := tr.Joined(d.t.Context()); err != nil {
			d.t.Fatal(err)
		}
		fleet = append(fleet, tr.Client())
	}
	run := relaytest.Run{Faults: d.faults.Faults(), Durable: d.durable}
	for _, p := range publishers {
		finish(d.t, p, fleet)
		run.Published = append(run.Published, p.Log()...)
	}
	run.Rules.Resumes = relaytest.ResumeBounds{Enough: 1, Recovered: 1}
	for _, tr := range d.travellers {
		run.Sessions = append(run.Sessions, tr.Sessions()...)
	}
	report := judge(d.t, run)
	if report.Err() != nil {
		d.tell()
	}
	if moved := report.Live.Crossed.All() + report.Durable.Crossed.All(); moved < least || report.Gaps > 0 {
		d.t.Errorf("%d came back to another relay, want %d at least; %d gaps, want none", moved, least, report.Gaps)
	}
}

// tell shows those who came back and were not recovered, with what they heard on the connection before.
func (d *deployment) tell() {
	for _, tr := range d.travellers {
		sessions := tr.Sessions()
		for i, s := range sessions[1:] {
			if slices.ContainsFunc(s.Events, func(e relaytest.Event) bool { return e.Kind == relaytest.KindSubscribed && !e.Recovered }) {
				for _, s := range sessions[i : i+2] {
					for _, e := range s.Events[:min(len(s.Events), 12)] {
						d.t.Logf("%s at %s: %v", s.Client, s.Relay, e)
					}
					for _, e := range s.Events[max(0, len(s.Events)-12):] {
						d.t.Logf("%s at %s: %v", s.Client, s.Relay, e)
					}
				}
			}
		}
	}
}

// TestRollingRestart: relays are replaced one after the other, each successor being ready before its predecessor goes, as
// by a Deployment with maxSurge. Nobody misses a message, hears one twice, or is told of a gap, not on channels of which
// nothing was heard for long either.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	d := &deployment{t: t, server: redistest.Start(t), settings: map[string]string{
		"SIDECAST_DRAIN_DELAY": "2s", "SIDECAST_DRAIN_TIMEOUT": "2s",
	}}
	for range 3 {
		d.start()
	}
	names := channels("rolled", 4)
	d.travel(60, names)
	p := publisher(t, d.server, relaytest.Payloads{Bytes: relaytest.BytesHostile})
	var stops []func()
	for i, pace := range []time.Duration{50 * time.Millisecond, time.Second, 5 * time.Second, time.Hour} {
		stops = append(stops, traffic(t, p, names[i:i+1], pace))
	}
	rolls := or(3, 20)
	for n := range rolls {
		d.home()
		d.start()
		d.mu.Lock()
		oldest := d.open[0]
		d.mu.Unlock()
		took := d.drain(oldest)
		t.Logf("roll %d: drained in %v", n+1, took)
	}
	for _, stop := range stops {
		stop()
	}
	d.end(rolls*10, p)
}
