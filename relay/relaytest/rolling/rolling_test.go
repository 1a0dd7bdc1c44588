package rolling_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

const (
	listeners  = 300
	drainDelay = time.Second
	drainOver  = 4 * time.Second
)

// TestRollingReplacement: two relays behind a load balancer are replaced one after the other while messages are published.
// Everybody who is closed comes back to the other relay with the cursor of the first, and misses nothing; and the closes are
// spread, so that who comes back is no herd.
func TestRollingReplacement(t *testing.T) {
	server := redistest.Start(t)
	relays := []*replica{newReplica(t, server), newReplica(t, server)}
	proxy := balance(t, relays[0].listen, relays[1].listen)
	channels := []string{"news:1", "news:2", "news:3", "news:4"}

	client := relaytest.NewRedis(server.Addr, time.Second)
	t.Cleanup(func() { _ = client.Close() })
	publisher := relaytest.NewPublisher(relaytest.PublishTo(client), relaytest.Payloads{Bytes: relaytest.BytesHostile})
	crowd := gather(t, proxy.addr, channels)
	both := func() float64 {
		return metric(t, relays[0].Process, "sidecast_subscriptions") + metric(t, relays[1].Process, "sidecast_subscriptions")
	}
	until(t, "that all have joined", func() bool { return both() == listeners })
	publishing, stop := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	traffic.Go(func() { _ = publisher.Run(publishing, channels, 0, 50*time.Millisecond) }) // it ends with its context

	var faults relaytest.FaultLog
	for i, relay := range relays {
		clients, before := int(metric(t, relay.Process, "sidecast_connections")), len(proxy.closes(0))
		fault := faults.Begin(relaytest.Fault{
			Name: "replace a relay", Ends: true, Gap: relaytest.Never, Offline: relaytest.Never,
		})
		relay.Signal(syscall.SIGTERM)
		if code := relay.Wait(); code != 0 {
			t.Errorf("a relay that was to drain exits with %d", code)
		}
		other := relays[1-i]
		until(t, "that all have come back", func() bool {
			return metric(t, other.Process, "sidecast_subscriptions") == listeners
		})
		relay.start()
		fault.Settled()

		closes := proxy.closes(before)
		// A relay that does not spread its closes has four times the even rate; a machine that stands still for a moment, twice.
		limit := 2.5 * float64(clients) / drainOver.Seconds()
		t.Logf("relay %d had %d clients; at most %d closes in a second at the balancer, of %d; may be %.0f",
			i, clients, busiest(closes), len(closes), limit)
		if clients < listeners/4 || len(closes) < clients {
			t.Errorf("the balancer saw %d closes of %d clients", len(closes), clients)
		}
		if most := busiest(closes); float64(most) > limit {
			t.Errorf("%d closes in a second, more than %.0f", most, limit)
		}
	}
	stop()
	traffic.Wait()
	judge(t, crowd.home(), publisher, faults.Faults())
}

// judge ends the run and holds it to the delivery contract.
func judge(t *testing.T, travellers []*relaytest.Traveller, publisher *relaytest.Publisher, faults []relaytest.Fault) {
	t.Helper()
	var fleet relaytest.Fleet
	for _, traveller := range travellers {
		fleet = append(fleet, traveller.Client())
	}
	if err := publisher.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := fleet.AwaitEnd(t.Context(), publisher); err != nil {
		t.Fatal(err)
	}
	run, moves := relaytest.Run{Published: publisher.Log(), Faults: faults}, 0
	for _, traveller := range travellers {
		run.Sessions = append(run.Sessions, traveller.Sessions()...)
		moves += traveller.Moves
	}
	report := relaytest.Check(run)
	t.Logf("%d moves; %s", moves, report)
	if err := report.Err(); err != nil {
		t.Error("the delivery contract was broken")
	}
	if moves < listeners { // all were on one relay at least when it went
		t.Errorf("%d listeners moved %d times", listeners, moves)
	}
	resumed := relaytest.Resumes{
		Recovered: report.Live.Same.Recovered + report.Live.Crossed.Recovered, Gaps: report.Live.Same.Gaps + report.Live.Crossed.Gaps,
	}
	if resumed.Gaps > 0 || resumed.Recovered < listeners {
		t.Errorf("of those who came back %v", resumed)
	}
}

// A replica is a relay at an address that outlives it, as a name in a balancer's configuration does.
type replica struct {
	*relaytest.Process
	t        *testing.T
	listen   string
	settings map[string]string
}

func newReplica(t *testing.T, server *redistest.Server) *replica {
	t.Helper()
	r := &replica{t: t, listen: redistest.FreeAddr(t)}
	r.settings = settings(server, r.listen, "127.0.0.1:0")
	r.settings["SIDECAST_DRAIN_DELAY"], r.settings["SIDECAST_DRAIN_TIMEOUT"] = drainDelay.String(), drainOver.String()
	// All of them come from one address here.
	r.settings["SIDECAST_MAX_CONNECT_RATE_PER_IP"] = "10000"
	r.start()
	return r
}

func (r *replica) start() {
	r.t.Helper()
	r.Process = relaytest.Start(r.t, r.settings)
	r.AwaitReady()
}

// A crowd is listeners who come back whenever they are closed.
type crowd struct {
	travellers []*relaytest.Traveller
	stop       context.CancelFunc
	wandering  sync.WaitGroup
}

// gather connects the listeners, each to one of the channels.
func gather(t *testing.T, addr string, channels []string) *crowd {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	c := &crowd{stop: stop}
	dialer := &relaytest.Dialer{URL: "ws://" + addr + "/ws"}
	for i := range listeners {
		traveller := relaytest.NewTraveller(channels[i%len(channels)])
		c.travellers = append(c.travellers, traveller)
		c.wandering.Go(func() { wander(ctx, traveller, dialer) })
	}
	t.Cleanup(func() {
		for _, traveller := range c.home() {
			traveller.Leave((*relaytest.Client).Drop)
		}
	})
	return c
}

// home ends the wandering and returns the listeners, connected as they are.
func (c *crowd) home() []*relaytest.Traveller {
	c.stop()
	c.wandering.Wait()
	return c.travellers
}

// wander connects, and again whenever the connection is over, after a short random while.
func wander(ctx context.Context, traveller *relaytest.Traveller, dialer *relaytest.Dialer) {
	for {
		if err := traveller.Go(ctx, dialer); err == nil {
			over := traveller.Client().Done()
			select {
			case <-over:
			case <-ctx.Done():
				return
			}
		}
		pause := time.NewTimer(rand.N(200 * time.Millisecond))
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}
