package relay

import (
	"bytes"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// A pingProtocol sends the cursor of a heartbeat, and nothing else.
type pingProtocol struct{ protocol.Protocol }

func (pingProtocol) ID() protocol.ID             { return protocol.V1ID }
func (pingProtocol) Ping(at []byte) []byte       { return at }
func (pingProtocol) Event(protocol.Event) []byte { return nil }

// A heartbeat, and the last one before a close, names the newest marker before
// everything that waits in the shard's mailbox, and not a later one.
func TestHeartbeatWaitsForTheMailbox(t *testing.T) {
	h := NewHub(HubConfig{Shards: 1, HistoryBytes: 1 << 20, HistoryAge: time.Hour})
	s := h.shards[0]
	session := &Session{hub: h, shard: s, protocol: pingProtocol{}, liveChannels: 1}
	positions := func() (ping, last []byte) {
		s.mu.Lock()
		defer s.mu.Unlock()
		round := pingRound{shard: s}
		return round.frame(session), session.position()
	}
	marker := func(id byte) {
		h.Marker([]byte{7: id})
		h.Flush()
	}
	h.Online(1)
	s.mailbox.take(nil)
	marker(1)
	first, last := positions()
	if len(first) == 0 || !bytes.Equal(first, last) {
		t.Fatalf("the first marker: heartbeat %q, last heartbeat %q", first, last)
	}
	s.mailbox.put(items(1, itemCharge))
	marker(2)
	if ping, last := positions(); !bytes.Equal(ping, first) || !bytes.Equal(last, first) {
		t.Errorf("with an item in the mailbox: heartbeat %q, last heartbeat %q, want %q", ping, last, first)
	}
	session.liveSince = h.history.Seq // a subscription that began after the item
	if ping, last := positions(); len(ping) != 0 || len(last) != 0 {
		t.Errorf("before the shard has reached the subscription: heartbeat %q, last heartbeat %q", ping, last)
	}
	s.mailbox.take(nil)
	if ping, last := positions(); len(ping) == 0 || bytes.Equal(ping, first) || !bytes.Equal(ping, last) {
		t.Errorf("with an empty mailbox: heartbeat %q, last heartbeat %q", ping, last)
	}
}

// A subscription begins after everything that has been numbered, even if that
// still waits in the shard's mailbox: it was in the replay, or the gap stands
// for it.
func TestSubscriptionBeginsAfterTheMailbox(t *testing.T) {
	budget := outbox.NewBudget(1<<20, 1<<30, time.Minute, nil)
	h := NewHub(HubConfig{Access: new(access.Rules), Budget: budget, Shards: 1, HistoryBytes: 1 << 20, HistoryAge: time.Hour})
	session := &Session{hub: h, shard: h.shards[0], protocol: pingProtocol{}, outbox: new(outbox.Outbox)}
	session.outbox.Init(budget, outboxtest.NewFakeSocket(0), nil)
	h.Online(1) // its gap stays in the mailbox, because the hub does not run
	for name, begin := range map[string]func(r *resume, b *liveBacklog){
		"a new subscription":      func(r *resume, _ *liveBacklog) { h.joinFresh(r.subs) },
		"recovered:false":         func(r *resume, _ *liveBacklog) { r.send(page{kind: pageGap}) },
		"a gap during the replay": func(r *resume, _ *liveBacklog) { r.answered = true; r.send(page{kind: pageGap}) },
		"the end of a replay": func(r *resume, b *liveBacklog) {
			ch, p := r.subs[0].channel, &b.places[0]
			b.epoch, p.from, p.last = h.history.Epoch(), h.history.Now(ch), ch.Newest()
			r.send(page{kind: pageLast})
		},
	} {
		sub := h.addSubscription(session, name, nil)
		h.Publish([]byte("b"), []byte("x"))
		h.Flush()
		r := h.newResume(sub, nil, protocol.ChannelRequest{Channel: name})
		begin(r, r.backlog.(*liveBacklog))
		if start := sub.channel.Hub.in(0).list[sub.index].start; start != uint64(h.history.Seq) {
			t.Errorf("%s: the subscription begins after %d, want %d", name, start, h.history.Seq)
		}
	}
}
