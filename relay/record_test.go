package relay

import (
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/blackbox"
	"sidecast/relay/protocol"
)

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
