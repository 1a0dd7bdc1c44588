package relay_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stream"
)

// A pickyReader reads one channel so often, and then no more. It waits for the gate before it answers.
type pickyReader struct {
	vaultReader
	channel string
	reads   atomic.Int32
	gate    chan struct{} // nil: open
}

// Read implements [relay.Streams].
func (r *pickyReader) Read(ctx context.Context, channel string, from stream.ID, limit int) (stream.Page, error) {
	if r.gate != nil {
		<-r.gate
	}
	if channel == r.channel {
		if r.reads.Add(-1) < 0 {
			return stream.Page{}, stream.ErrNoStream
		}
	}
	return r.vaultReader.Read(ctx, channel, from, limit)
}

// One client comes back to several channels: a stream that cannot be read any more in the middle of what was missed keeps
// none of the others from being told to its end.
func TestDurableStuckReplayHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		picky := &pickyReader{channel: "a"}
		picky.reads.Store(1000)
		d := newDurableStand(t, func(v *vault) stream.Store { picky.vaultReader = vaultReader{v}; return picky })
		first := d.join(outboxtest.Unlimited)
		cursors := map[string]string{}
		for _, channel := range []string{"a", "b"} {
			first.subscribe(channel, "")
			cursors[channel] = first.want("a new client", "subscribed false")
		}
		first.leave()
		d.add("a", 1, 100)
		d.add("b", 101, 200)
		picky.reads.Store(1)
		back := d.join(0)
		back.subscribe("a", cursors["a"])
		back.subscribe("b", cursors["b"])
		back.socket.Give(outboxtest.Unlimited)
		time.Sleep(5 * time.Second)
		back.want("of both", "subscribed true,"+run(1, 17)+",subscribed true,"+run(101, 200))
		picky.reads.Store(1000)
		time.Sleep(5 * time.Second)
		back.want("of the one that could not be read", run(18, 100))
	})
}

// Whoever waits for a read of a channel waits for nothing once nobody listens to it or Redis is away: there may be no read
// any more.
func TestDurableRefreshEnds(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(*durableStand, *guest)
		want    string
	}{
		"read":              {func(*durableStand, *guest) {}, "<nil>"},
		"Redis went away":   {func(d *durableStand, _ *guest) { d.hub.Offline() }, "redis is away"},
		"nobody listens":    {func(_ *durableStand, g *guest) { g.leave() }, "the channel has no subscribers any more"},
		"away and back":     {func(d *durableStand, _ *guest) { d.hub.Offline(); d.hub.Online(1) }, "<nil>"},
		"nobody, then back": {func(d *durableStand, g *guest) { d.hub.Offline(); g.leave(); d.hub.Online(1) }, "the channel has no subscribers any more"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				picky := new(pickyReader)
				d := newDurableStand(t, func(v *vault) stream.Store { picky.vaultReader = vaultReader{v}; return picky })
				g := d.join(outboxtest.Unlimited)
				g.subscribe("a", "")
				d.add("a", 1, 1)
				picky.gate = make(chan struct{})
				d.nudge("a") // a read begins, and another one has to follow it
				ended := make(chan string, 1)
				go func() { ended <- fmt.Sprint(d.hub.RefreshDurable(t.Context(), "a")) }()
				synctest.Wait()
				test.happens(d, g)
				synctest.Wait()
				close(picky.gate)
				synctest.Wait()
				select {
				case got := <-ended:
					if got != test.want {
						t.Errorf("ended with %s, want %s", got, test.want)
					}
				default:
					t.Error("still waits")
				}
			})
		})
	}
}
