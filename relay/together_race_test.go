package relay_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"sidecast/relay/outbox/outboxtest"
)

// A busyProtocol calls encoding before it encodes a message of a replay.
type busyProtocol struct {
	listingV1
	encoding func()
}

func (p *busyProtocol) Message(channel string, cursor, payload []byte) []byte {
	p.encoding()
	return p.listingV1.Message(channel, cursor, payload)
}

// Messages that arrive while a replay of several channels reads its pages are
// sent in their place.
func TestMessagesArriveDuringMergedReplay(t *testing.T) {
	random := rand.New(rand.NewPCG(newSeed(t), 1))
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			published := 1 + random.IntN(20)
			h, at := missedTogether(t, 4<<20, published)
			publish := func(most int) {
				for range random.IntN(1 + most) {
					published++
					h.publishSized(string(rune('a'+random.IntN(3))), published, published, random.IntN(4)*random.IntN(1000))
				}
			}
			p := &busyProtocol{encoding: func() {
				if published < 200 {
					publish(3)
				}
			}}
			c := h.connect(connectOptions{protocol: p, channels: []string{"a", "b", "c"}, place: &at, room: outboxtest.Unlimited})
			t.Cleanup(c.leave)
			synctest.Wait()
			publish(5)
			synctest.Wait()
			c.want("a client that resumes", "subscribed true,"+numbers(1, published))
		})
	}
}
