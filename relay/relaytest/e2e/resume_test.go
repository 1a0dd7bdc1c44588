package e2e_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
)

// A resumeSetup is two relays on one Redis, each with its own proxy to Redis,
// and a client that resumes at one or the other.
type resumeSetup struct {
	t       *testing.T
	publish relaytest.PublishFunc
	proxies [2]*faultproxy.Proxy // between the relays and Redis
	dialers [2]*relaytest.Dialer
	faults  relaytest.FaultLog
	p       *relaytest.Publisher
	client  *relaytest.ReconnectingClient
}

// resumed is the only channel of these tests.
const resumed = "resumed"

// newResumeSetup starts the relays and connects the client to the first.
func newResumeSetup(t *testing.T, payloads relaytest.Payloads, settings map[string]string) *resumeSetup {
	t.Helper()
	server := redistest.Start(t)
	s := &resumeSetup{t: t, publish: publishTo(t, server), client: relaytest.NewReconnectingClient(resumed)}
	s.p = relaytest.NewPublisher(s.publish, payloads)
	for i, name := range []string{"a", "b"} {
		s.proxies[i] = faultproxy.Start(t, server.Addr)
		all := map[string]string{
			"SIDECAST_REDIS_URL":     "redis://" + s.proxies[i].Addr,
			"SIDECAST_PING_INTERVAL": "1s", "SIDECAST_PONG_TIMEOUT": "900ms",
		}
		maps.Copy(all, settings)
		s.dialers[i] = &relaytest.Dialer{URL: startRelay(t, server, all).URL(), Relay: name}
	}
	t.Cleanup(func() {
		s.client.Disconnect((*relaytest.Client).Drop)
		if t.Failed() {
			for _, session := range s.client.Sessions() {
				logSession(t, session)
			}
		}
	})
	s.resume(0)
	// After three heartbeats both relays know the marker of the client's
	// position.
	_, err := s.client.Client().Await(t.Context(), nth(3, relaytest.KindHeartbeat))
	s.check(err)
	return s
}

func (s *resumeSetup) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// resume connects the client to a relay and waits for the answer to its
// subscribe command.
func (s *resumeSetup) resume(relay int) {
	s.t.Helper()
	s.check(s.client.Connect(s.t.Context(), s.dialers[relay]))
	s.check(s.client.AwaitAnswers(s.t.Context()))
}

// send publishes n messages.
func (s *resumeSetup) send(n int, every time.Duration) {
	s.t.Helper()
	s.check(s.p.Run(s.t.Context(), []string{resumed}, n, every))
}

// receive waits until the client has received n messages on its current
// connection.
func (s *resumeSetup) receive(n int) {
	s.t.Helper()
	_, err := s.client.Client().Await(s.t.Context(), nth(n, relaytest.KindMessage))
	s.check(err)
}

// awaitHeartbeats waits for the next n heartbeats.
func (s *resumeSetup) awaitHeartbeats(n int) {
	s.t.Helper()
	client := s.client.Client()
	_, err := client.AwaitAfter(s.t.Context(), client.Last(), nth(n, relaytest.KindHeartbeat))
	s.check(err)
}

// finish checks the run: how many resumes at the same relay and at the other
// recovered, and how many were a gap; or other such counts that are right too.
func (s *resumeSetup) finish(same, crossed, gaps int, or ...[3]int) {
	s.t.Helper()
	finish(s.t, s.p, relaytest.Fleet{s.client.Client()})
	live := checkContract(s.t, relaytest.Run{
		Published: s.p.Log(), Sessions: s.client.Sessions(), Faults: s.faults.Faults(),
	}).Live
	got := [3]int{live.Same.Recovered, live.Crossed.Recovered, live.Same.Gaps + live.Crossed.Gaps}
	if want := [3]int{same, crossed, gaps}; got != want && !slices.Contains(or, got) {
		s.t.Errorf("resumes recovered at the same relay, recovered at the other, and gaps: %v, want %v", got, want)
	}
}

// resumes are sequences of events in which simpler rules for resuming lose
// messages or send them twice.
var resumes = []struct {
	name     string
	payloads relaytest.Payloads
	settings map[string]string
	run      func(s *resumeSetup)
}{
	{"the position is known from heartbeats only", relaytest.Payloads{}, nil, func(s *resumeSetup) {
		s.send(1, 0)
		s.receive(1)
		for i := range 6 {
			s.awaitHeartbeats(1)
			s.resume((i + 1) % 2)
		}
		s.finish(0, 6, 0)
	}},
	{"the first relay receives nothing from Redis, but sends heartbeats", relaytest.Payloads{}, nil, func(s *resumeSetup) {
		s.send(3, 0)
		s.receive(3)
		fault := s.faults.Begin(relaytest.Fault{Name: "hold", Relay: "a", Gap: relaytest.Any, Offline: relaytest.Any})
		s.proxies[0].Hold(faultproxy.Both...)
		s.send(1, 0)
		s.awaitHeartbeats(3) // they must not include the message that was just published
		s.send(1, 0)
		s.resume(1)
		s.proxies[0].Release(faultproxy.Both...)
		fault.Settled()
		s.finish(0, 1, 0)
	}},
	{"the first relay lags", relaytest.Payloads{Equal: true}, nil, func(s *resumeSetup) {
		s.proxies[0].Delay(faultproxy.ToClient, 2500*time.Millisecond, 0)
		s.send(40, 100*time.Millisecond)
		s.resume(1)
		s.send(5, 50*time.Millisecond)
		s.finish(0, 1, 0)
	}},
	{"the second relay lags and must catch up", relaytest.Payloads{Equal: true}, nil, func(s *resumeSetup) {
		s.proxies[1].Delay(faultproxy.ToClient, 2500*time.Millisecond, 0)
		s.send(40, 100*time.Millisecond)
		s.receive(40)
		s.resume(1)
		s.send(5, 50*time.Millisecond)
		s.finish(0, 1, 0)
	}},
	{"disconnected again and again during replays larger than an outbox", relaytest.Payloads{Sizes: []int{1000}},
		map[string]string{"SIDECAST_MAX_PAYLOAD_BYTES": "64KiB", "SIDECAST_OUTBOX_BYTES": "256KiB"},
		func(s *resumeSetup) {
			s.client.Disconnect((*relaytest.Client).Drop)
			s.send(3000, 0)
			for i := range 6 {
				s.resume(i % 2)
				s.receive(1 + 60*i)
				s.client.Disconnect((*relaytest.Client).Abort)
			}
			s.resume(1)
			s.finish(2, 5, 0)
		}},
	{"disconnected immediately after the answer", relaytest.Payloads{}, nil, func(s *resumeSetup) {
		for i := range 10 {
			s.client.Disconnect((*relaytest.Client).Drop)
			s.send(20, 0)
			s.resume(i % 2)
			s.client.Disconnect((*relaytest.Client).Abort)
		}
		s.resume(1)
		s.finish(2, 9, 0)
	}},
	{"the client missed more than the history holds", relaytest.Payloads{},
		map[string]string{"SIDECAST_HISTORY_BYTES": "4KiB"}, func(s *resumeSetup) {
			s.send(5, 0)
			s.receive(5)
			s.client.Disconnect((*relaytest.Client).Drop)
			s.send(500, 0)
			s.resume(1)
			s.send(5, 0)
			s.receive(5)
			s.resume(0)
			s.finish(0, 1, 1)
		}},
	{"the client missed a message that was too large", relaytest.Payloads{},
		map[string]string{"SIDECAST_MAX_PAYLOAD_BYTES": "1KiB"}, func(s *resumeSetup) {
			s.client.Disconnect((*relaytest.Client).Drop)
			s.send(3, 0)
			fault := s.faults.Begin(relaytest.Fault{Name: "oversize", Channel: resumed, Gap: relaytest.Maybe})
			_, err := s.publish(s.t.Context(), resumed, bytes.Repeat([]byte("x"), 1<<10+1))
			s.check(err)
			s.send(3, 0)
			s.resume(1)
			s.send(3, 0)
			s.receive(3)
			s.resume(0)
			// If the first relay had not received the message at the resume, it
			// recovered that, and the gap was among the missed messages.
			fault.Settled()
			s.finish(0, 1, 1, [3]int{0, 2, 0})
		}},
}

// TestResume: a client that resumes at one of two relays receives every message
// once and in order, or a gap.
func TestResume(t *testing.T) {
	t.Parallel()
	for _, test := range resumes {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(newResumeSetup(t, test.payloads, test.settings))
		})
	}
}
