package e2e_test

import (
	"bytes"
	"maps"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
)

// A crossing is two relays on one Redis, each behind a link that can be broken, and somebody who travels between them.
type crossing struct {
	t       *testing.T
	server  *redistest.Server
	publish relaytest.PublishFunc
	links   [2]*faultproxy.Proxy
	dialers [2]*relaytest.Dialer
	faults  relaytest.FaultLog
	p       *relaytest.Publisher
	tr      *relaytest.Traveller
}

// crossed is the channel of which everything is heard.
const crossed = "crossed"

func newCrossing(t *testing.T, payloads relaytest.Payloads, settings map[string]string) *crossing {
	t.Helper()
	c := &crossing{t: t, server: redistest.Start(t), tr: relaytest.NewTraveller(crossed)}
	c.publish = publishTo(t, c.server)
	c.p = relaytest.NewPublisher(c.publish, payloads)
	for i, name := range []string{"a", "b"} {
		c.links[i] = faultproxy.Start(t, c.server.Addr)
		all := map[string]string{
			"SIDECAST_REDIS_URL":     "redis://" + c.links[i].Addr,
			"SIDECAST_PING_INTERVAL": "1s", "SIDECAST_PONG_TIMEOUT": "900ms",
		}
		maps.Copy(all, settings)
		relay := startRelay(t, c.server, all)
		c.dialers[i] = &relaytest.Dialer{URL: relay.URL(), Relay: name}
	}
	t.Cleanup(func() {
		c.tr.Leave((*relaytest.Client).Drop)
		if t.Failed() {
			c.tell()
		}
	})
	c.to(0)
	// What comes next is told by markers that both relays know.
	_, err := c.tr.Client().Await(t.Context(), nth(3, relaytest.KindHeartbeat))
	c.check(err)
	return c
}

func (c *crossing) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// tell shows what was heard, the messages of each connection but for a few left out.
func (c *crossing) tell() {
	for _, s := range c.tr.Sessions() {
		for i, e := range s.Events {
			if e.Kind != relaytest.KindPingFrame && (e.Kind != relaytest.KindMessage || i < 10 || i > len(s.Events)-10) {
				c.t.Logf("at %s: %v", s.Relay, e)
			}
		}
	}
}

// to goes to a relay and waits for its answer.
func (c *crossing) to(relay int) {
	c.t.Helper()
	c.check(c.tr.Go(c.t.Context(), c.dialers[relay]))
	c.check(c.tr.Joined(c.t.Context()))
}

// say publishes n messages.
func (c *crossing) say(n int, every time.Duration) {
	c.t.Helper()
	c.check(c.p.Run(c.t.Context(), []string{crossed}, n, every))
}

// hear waits until n more messages came on this connection.
func (c *crossing) hear(n int) {
	c.t.Helper()
	_, err := c.tr.Client().Await(c.t.Context(), nth(n, relaytest.KindMessage))
	c.check(err)
}

// beats waits for the next so many heartbeats.
func (c *crossing) beats(n int) {
	c.t.Helper()
	client := c.tr.Client()
	_, err := client.AwaitAfter(c.t.Context(), client.Last(), nth(n, relaytest.KindHeartbeat))
	c.check(err)
}

// end judges the journey: so many returns to the same relay and to the other were recovered, and so many were not.
func (c *crossing) end(same, crossed, gaps int) {
	c.t.Helper()
	finish(c.t, c.p, relaytest.Fleet{c.tr.Client()})
	r := judge(c.t, relaytest.Run{Published: c.p.Log(), Sessions: c.tr.Sessions(), Faults: c.faults.Faults()})
	got := [3]int{r.Live.Same.Recovered, r.Live.Crossed.Recovered, r.Live.Same.Gaps + r.Live.Crossed.Gaps}
	if got != [3]int{same, crossed, gaps} {
		c.t.Errorf("recovered on the same relay, on the other, and not: %v, want %v", got, [3]int{same, crossed, gaps})
	}
}

var crossings = []struct {
	why      string
	payloads relaytest.Payloads
	settings map[string]string
	travel   func(c *crossing)
}{
	{"quiet: heartbeats alone say where one is", relaytest.Payloads{}, nil, func(c *crossing) {
		c.say(1, 0)
		c.hear(1)
		for i := range 6 {
			c.beats(1)
			c.to((i + 1) % 2)
		}
		c.end(0, 6, 0)
	}},
	{"the first relay hears nothing any more, and goes on sending heartbeats", relaytest.Payloads{}, nil, func(c *crossing) {
		c.say(3, 0)
		c.hear(3)
		fault := c.faults.Begin(relaytest.Fault{Name: "hole", Relay: "a", Gap: relaytest.Any, Offline: relaytest.Any})
		c.links[0].Hold(faultproxy.Both...)
		c.say(1, 0)
		c.beats(3) // none of them may promise what was just said
		c.say(1, 0)
		c.to(1)
		c.links[0].Release(faultproxy.Both...)
		fault.Settled()
		c.end(0, 1, 0)
	}},
	{"the first relay lags", relaytest.Payloads{Equal: true}, nil, func(c *crossing) {
		c.links[0].Delay(faultproxy.ToClient, 2500*time.Millisecond, 0)
		c.say(40, 100*time.Millisecond)
		c.to(1)
		c.say(5, 50*time.Millisecond)
		c.end(0, 1, 0)
	}},
	{"the second relay lags, and has to catch up before it knows", relaytest.Payloads{Equal: true}, nil, func(c *crossing) {
		c.links[1].Delay(faultproxy.ToClient, 2500*time.Millisecond, 0)
		c.say(40, 100*time.Millisecond)
		c.hear(40)
		c.to(1)
		c.say(5, 50*time.Millisecond)
		c.end(0, 1, 0)
	}},
	{"cut inside replays of more than an outbox holds, again and again", relaytest.Payloads{Sizes: []int{1000}},
		map[string]string{"SIDECAST_MAX_PAYLOAD_BYTES": "64KiB", "SIDECAST_OUTBOX_BYTES": "256KiB"},
		func(c *crossing) {
			c.tr.Leave((*relaytest.Client).Drop)
			c.say(3000, 0)
			for i := range 6 {
				c.to(i % 2)
				c.hear(1 + 60*i)
				c.tr.Leave((*relaytest.Client).Abort)
			}
			c.to(1)
			c.end(2, 5, 0)
		}},
	{"cut right behind the answer", relaytest.Payloads{}, nil, func(c *crossing) {
		for i := range 10 {
			c.tr.Leave((*relaytest.Client).Drop)
			c.say(20, 0)
			c.to(i % 2)
			c.tr.Leave((*relaytest.Client).Abort)
		}
		c.to(1)
		c.end(2, 9, 0)
	}},
	{"more was missed than the history holds", relaytest.Payloads{}, map[string]string{"SIDECAST_HISTORY_BYTES": "4KiB"}, func(c *crossing) {
		c.say(5, 0)
		c.hear(5)
		c.tr.Leave((*relaytest.Client).Drop)
		c.say(500, 0)
		c.to(1)
		c.say(5, 0)
		c.hear(5)
		c.to(0)
		c.end(0, 1, 1)
	}},
	{"something too large lies in what was missed", relaytest.Payloads{},
		map[string]string{"SIDECAST_MAX_PAYLOAD_BYTES": "1KiB"}, func(c *crossing) {
			c.tr.Leave((*relaytest.Client).Drop)
			c.say(3, 0)
			fault := c.faults.Begin(relaytest.Fault{Name: "oversize", Channel: crossed, Gap: relaytest.Maybe})
			_, err := c.publish(c.t.Context(), crossed, bytes.Repeat([]byte("x"), 2000))
			c.check(err)
			c.say(3, 0)
			c.to(1)
			fault.Settled()
			c.say(3, 0)
			c.hear(3)
			c.to(0)
			c.end(0, 1, 1)
		}},
}

// TestCrossings: journeys on which simpler rules for coming back lose messages, or repeat them.
func TestCrossings(t *testing.T) {
	t.Parallel()
	for _, test := range crossings {
		t.Run(test.why, func(t *testing.T) {
			t.Parallel()
			test.travel(newCrossing(t, test.payloads, test.settings))
		})
	}
}
