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

// A deployment is several relays on one Redis, and clients that reconnect to
// one of them whenever they are closed.
type deployment struct {
	t        *testing.T
	server   *redistest.Server
	settings map[string]string
	balancer *relaytest.Dialer // of a load balancer that all clients connect through; nil if they connect directly
	faults   relaytest.FaultLog
	durable  map[string]int // see [relaytest.Run]
	started  int
	protocol relaytest.Protocol // of the clients, without a balancer

	mu   sync.Mutex
	open []*replica // the relays that accept clients; guarded by mu

	clients    []*relaytest.ReconnectingClient
	connecting sync.WaitGroup
	disconnect context.CancelFunc // ends reconnecting
}

// A replica is one relay process of a deployment.
type replica struct {
	*relaytest.Process
	dialer *relaytest.Dialer
}

// start adds a relay on a free port and waits until it is ready.
func (d *deployment) start() *replica {
	d.t.Helper()
	return d.startAt("127.0.0.1:0")
}

// startAt adds a relay on an address and waits until it is ready.
func (d *deployment) startAt(addr string) *replica {
	d.t.Helper()
	d.started++
	relay := startRelay(d.t, d.server, with(d.settings, "SIDECAST_LISTEN", addr))
	r := &replica{relay, d.balancer}
	if r.dialer == nil {
		r.dialer = &relaytest.Dialer{URL: relay.URL(), Protocol: d.protocol, Relay: fmt.Sprintf("relay %d", d.started)}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = append(d.open, r)
	return r
}

// replicas returns the relays that accept clients, the oldest first.
func (d *deployment) replicas() []*replica {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.open)
}

// drain sends SIGTERM to a relay, to which no client connects any more, and
// waits until it has exited and all its clients have reconnected. It returns
// how long the relay took.
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
	case <-time.After(time.Minute): // longer than any drain in these tests
	}
	if code := r.Wait(); code != 0 {
		d.t.Errorf("the relay at %s exited with %d", r.Addr(), code)
	}
	took = time.Since(began)
	d.awaitClients()
	fault.Settled()
	return took
}

// connect adds n clients that subscribe to two of the channels each, and waits
// until all have subscribed.
func (d *deployment) connect(n int, names []string) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(d.t.Context())
	d.disconnect = cancel
	d.t.Cleanup(func() {
		cancel()
		d.connecting.Wait()
		for _, client := range d.clients {
			client.Disconnect((*relaytest.Client).Drop)
		}
	})
	next := func() *relaytest.Dialer {
		open := d.replicas()
		return open[rand.IntN(len(open))].dialer
	}
	for i := range n {
		client := relaytest.NewReconnectingClient(names[i%len(names)], names[(i+1)%len(names)])
		d.clients = append(d.clients, client)
		d.connecting.Go(func() { client.KeepConnected(ctx, 300*time.Millisecond, next) })
	}
	d.awaitClients()
}

// awaitClients waits until all clients have subscribed at a relay. It must
// precede the start of another relay: one that becomes ready while a client is
// disconnected does not know the markers that the client received before, and
// so would rightly send it a gap.
func (d *deployment) awaitClients() {
	d.t.Helper()
	open := d.replicas()
	eventually(d.t, func() string {
		subscriptions := 0
		for _, r := range open {
			subscriptions += int(metric(d.t, r.Process, "sidecast_subscriptions"))
		}
		if subscriptions != 2*len(d.clients) {
			return fmt.Sprintf("%d subscriptions, want %d", subscriptions, 2*len(d.clients))
		}
		return ""
	})
}

// finish waits until all clients have received all messages, and checks the
// run: all resumes recovered, and there were at least so many.
func (d *deployment) finish(least int, publishers ...*relaytest.Publisher) {
	d.t.Helper()
	d.disconnect()
	d.connecting.Wait()
	var fleet relaytest.Fleet
	for _, client := range d.clients {
		if err := client.AwaitAnswers(d.t.Context()); err != nil {
			d.t.Fatal(err)
		}
		fleet = append(fleet, client.Client())
	}
	run := relaytest.Run{Faults: d.faults.Faults(), Durable: d.durable}
	for _, p := range publishers {
		finish(d.t, p, fleet)
		run.Published = append(run.Published, p.Log()...)
	}
	run.Rules.Resumes = relaytest.ResumeBounds{Enough: 1, Recovered: 1}
	for _, client := range d.clients {
		run.Sessions = append(run.Sessions, client.Sessions()...)
	}
	report := checkContract(d.t, run)
	if report.Err() != nil {
		d.logUnrecovered()
	}
	resumes := 0
	for _, r := range []relaytest.ResumesByRelay{report.Live, report.Durable} {
		resumes += r.Same.All() + r.Crossed.All()
	}
	if resumes < least || report.Gaps > 0 {
		d.t.Errorf("%d resumes and %d gaps, want at least %d and 0", resumes, report.Gaps, least)
	}
}

// logUnrecovered logs the sessions in which a resume did not recover, each with
// the session before it.
func (d *deployment) logUnrecovered() {
	unrecovered := func(e relaytest.Event) bool { return e.Kind == relaytest.KindSubscribed && !e.Recovered }
	for _, client := range d.clients {
		sessions := client.Sessions()
		for i, s := range sessions[1:] {
			if slices.ContainsFunc(s.Events, unrecovered) {
				logSession(d.t, sessions[i])
				logSession(d.t, s)
			}
		}
	}
}

// logSession logs the first and last events of a session.
func logSession(t testing.TB, s relaytest.Session) {
	for i, e := range s.Events {
		if i < 12 || i >= len(s.Events)-12 {
			t.Logf("%s at %s: %v", s.Client, s.Relay, e)
		}
	}
}

// TestRollingRestart: relays are replaced one after another, and each new relay
// is ready before the old one exits, as in a Kubernetes Deployment with
// maxSurge. No client misses a message, receives one twice or receives a gap,
// not even on channels with rare messages.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	for _, protocol := range []relaytest.Protocol{relaytest.V1, relaytest.SSE} {
		t.Run(protocol.String(), func(t *testing.T) {
			t.Parallel()
			restartAll(t, protocol)
		})
	}
}

func restartAll(t *testing.T, protocol relaytest.Protocol) {
	d := &deployment{t: t, server: redistest.Start(t), protocol: protocol, settings: map[string]string{
		"SIDECAST_DRAIN_DELAY": "2s", "SIDECAST_DRAIN_TIMEOUT": "2s", "SIDECAST_PING_INTERVAL": "8s", "SIDECAST_PONG_TIMEOUT": "7s",
	}}
	for range 3 {
		d.start()
	}
	names := channels("rolled", 4)
	d.connect(60, names)
	p := publisher(t, d.server, relaytest.Payloads{Bytes: relaytest.BytesHostile})
	var stops []func()
	for i, interval := range []time.Duration{50 * time.Millisecond, time.Second, 5 * time.Second, time.Hour} {
		stops = append(stops, traffic(t, p, names[i:i+1], interval))
	}
	restarts := orLong(3, 20)
	for n := range restarts {
		d.start()
		t.Logf("restart %d: drained in %v", n+1, d.drain(d.replicas()[0]))
	}
	for _, stop := range stops {
		stop()
	}
	d.finish(restarts*10, p)
}
