package relay

import (
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/blackbox"
	"sidecast/relay/protocol"
)

// If there are more sessions than the ring has room for, a census leaves what has
// happened before it in the ring.
func TestCensusIsBounded(t *testing.T) {
	box, err := blackbox.Open(blackbox.MinBytes, "")
	if err != nil {
		t.Fatal(err)
	}
	h := NewHub(HubConfig{BlackBox: box, Shards: 1})
	s := h.shards[0]
	for range 100_000 {
		s.sessions = append(s.sessions, &Session{hub: h, shard: s, protocol: protocol.V1{}})
	}
	const n = 50_000
	for i := range n {
		box.Message(nil, []byte("chat"), blackbox.Message{Seq: uint64(i) + 1})
	}
	h.census()
	r, left := box.NewReader(time.Time{}), 0
	for record, ok := r.Next(); ok; record, ok = r.Next() {
		if record.Kind == blackbox.KindMessage {
			left++
		}
	}
	if left < 5000 {
		t.Errorf("%d of %d messages are left", left, n)
	}
}

// A census holds the locks for a bounded number of subscriptions, and records
// each session once.
func TestCensusInParts(t *testing.T) {
	for _, tt := range []struct {
		comment                   string
		sessions, channels, parts int
	}{
		{"no session", 0, 0, 1},
		{"many sessions", 640, 1, 10},
		{"many channels each", 20, 1000, 20},
		{"some channels each", 100, 128, 25},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			box, err := blackbox.Open(blackbox.MinBytes, "")
			if err != nil {
				t.Fatal(err)
			}
			h := NewHub(HubConfig{BlackBox: box, Shards: 1})
			s := h.shards[0]
			for range tt.sessions {
				session := &Session{hub: h, shard: s, protocol: protocol.V1{}, principal: access.Principal{}}
				for range tt.channels {
					session.subs = append(session.subs, &Subscription{session: session})
				}
				s.sessions = append(s.sessions, session)
			}
			parts := 0
			for end, more := -1, true; more; parts++ {
				end, more = s.census(end)
			}
			if parts != tt.parts {
				t.Errorf("%d parts, want %d", parts, tt.parts)
			}
		})
	}
}
