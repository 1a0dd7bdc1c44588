package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stream"
	"sidecast/relay/why"
)

// What the black box says of each message and each session is what the session's
// connection was given: in random histories with outages, slow clients,
// evictions, and clients who return.
func TestWhyAgrees(t *testing.T) {
	seed := newSeed(t)
	counts := map[why.Result]int{}
	kinds := []worldKind{{live: true, relays: 1}, {live: true, relays: 3}, {live: true, relays: 2, together: true}, {durable: true, relays: 2}, {live: true, durable: true, relays: 3}}
	for i := range uint64(*modelWorlds+1) / 2 { // each has some 20,000 pairs
		w := runWorld(t, seed, i, kinds[i%uint64(len(kinds))])
		if problem := w.checkWhy(counts); problem != "" {
			t.Fatalf("history %d: %s", i, problem)
		}
	}
	pairs := 0
	for _, n := range counts {
		pairs += n
	}
	t.Logf("%d pairs: %v", pairs, counts)
	for _, result := range []why.Result{why.Sent, why.Waited, why.Late, why.Left, why.Ended, why.Evicted, why.TooLarge, why.Unconfirmed} {
		if counts[result] == 0 && *modelWorlds >= 20 {
			t.Errorf("no message of %d was %s", pairs, result)
		}
	}
}

// checkWhy compares the answers of all relays with what the clients were sent,
// and returns the first difference.
func (w *world) checkWhy(counts map[why.Result]int) string {
	received := map[string]map[string]bool{} // by session and message
	for _, c := range w.clients {
		received[c.session.ID()] = c.everything()
	}
	for _, r := range w.relays {
		for _, channel := range w.channels {
			identify := r.liveMessages(channel)
			if isDurable(channel) {
				identify = w.store.messages(channel)
			}
			problem := ""
			c := why.NewCase(r.box.NewReader(time.Time{}), why.Question{Channel: channel})
			c.Each(func(m why.Message, session string, result why.Result) {
				name, ok := identify(m)
				got, known := received[session]
				if !ok || !known || problem != "" {
					return
				}
				counts[result]++
				if sent := result == why.Sent || result == why.Waited; result != why.Unconfirmed && sent != got[name] {
					problem = fmt.Sprintf("message %.20s on %q is %s, but was sent: %v, to client %s", name, channel, result, !sent, w.nameOf(session))
				}
			})
			if problem != "" {
				return problem
			}
		}
	}
	return ""
}

// nameOf returns the id of the client with a session.
func (w *world) nameOf(session string) string {
	for _, c := range w.clients {
		if c.session.ID() == session {
			return c.id + c.tail()
		}
	}
	return "?"
}

// everything returns which messages the relay has given to the connection, by
// channel and the beginning of the payload.
func (c *actorClient) everything() map[string]bool {
	all := map[string]bool{}
	rest, ok := strings.CutPrefix(string(c.socket.Got()), handshake)
	if !ok {
		return all
	}
	list, _ := decodeFrames([]byte(rest), c.protocol)
	for _, e := range list {
		if e.kind == "message" {
			all[label(string(e.payload))], all[string(e.payload)] = true, true
		}
	}
	return all
}

// label returns the beginning of a payload, which no other message has.
func label(payload string) string {
	before, _, _ := strings.Cut(payload, ":")
	return before
}

// liveMessages returns a function that returns the label of a message which this
// relay received on a channel.
func (r *worldRelay) liveMessages(channel string) func(why.Message) (string, bool) {
	var labels []string
	for _, n := range r.published {
		if e := r.world.log[n-1]; e.channel == channel {
			labels = append(labels, label(e.payload))
		}
	}
	return func(m why.Message) (string, bool) {
		return labels[m.Index], true
	}
}

// messages returns a function that returns the label of the entry of a stream
// with an id, unless several entries had it.
func (s *store) messages(channel string) func(why.Message) (string, bool) {
	labels := map[stream.ID]string{}
	for _, r := range s.log {
		if r.channel != channel {
			continue
		}
		if _, again := labels[r.entry.ID]; again {
			labels[r.entry.ID] = ""
			continue
		}
		labels[r.entry.ID] = string(r.entry.Payload)
	}
	return func(m why.Message) (string, bool) {
		name := labels[stream.ID{Ms: m.Place.Major, Seq: m.Place.Minor}]
		return name, name != ""
	}
}

// Sessions that last longer than the ring remembers are still known, with their
// subscriptions, and no others: not one from which the client unsubscribed long
// ago.
func TestCensus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 1<<20, nil)
		var clients []*testClient
		for i := range 200 {
			c := h.client(outboxtest.Unlimited)
			c.subscribe("a", "")
			if i%2 == 0 {
				c.subscribe("b", "")
			}
			clients = append(clients, c)
		}
		began := time.Now()
		for n := range 300 {
			for range 1500 {
				h.Publish([]byte("busy"), []byte("x"))
			}
			h.publish("a", n, n)
			h.publish("b", n, n)
			time.Sleep(time.Second)
			if n == 150 {
				clients[0].handle(`{"type":"unsubscribe","channel":"a"}`)
			}
		}
		if oldest, _ := h.box.NewReader(time.Time{}).Next(); !oldest.At.After(began.Add(time.Minute)) {
			t.Fatalf("the ring still has the records of %v", oldest.At.Sub(began))
		}
		for channel, want := range map[string]why.Result{"a": why.NotThere, "b": why.Sent} {
			got := map[string]map[why.Result]int{}
			c := why.NewCase(h.box.NewReader(time.Time{}), why.Question{Channel: channel, From: time.Now().Add(-time.Minute)})
			c.Each(func(_ why.Message, session string, result why.Result) {
				if got[session] == nil {
					got[session] = map[why.Result]int{}
				}
				got[session][result]++
			})
			for i, c := range clients {
				expect := why.Sent
				switch {
				case i == 0:
					expect = want
				case i%2 == 1 && channel == "b":
					expect = why.NotThere
				}
				if results := got[c.session.ID()]; results[expect] < 59 || len(results) != 1 {
					t.Fatalf("client %d on %s: %v, want %s", i, channel, results, expect)
				}
			}
		}
	})
}
