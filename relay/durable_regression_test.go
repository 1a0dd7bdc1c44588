package relay_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stream"
)

// A stream that is made again may give the very id again that the relay has come to: its listeners are told, and hear what
// comes next.
func TestDurableSameIDAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDurableStand(t, troubleless)
		g := d.join(outboxtest.Unlimited)
		g.subscribe("a", "")
		d.add("a", 1, 3)
		d.nudge("a")
		g.want("at first", "subscribed false,1,2,3")
		for _, more := range []int{0, 2} { // the same id is the last, or others follow
			d.vault.reset("a")
			d.add("a", 4, 6+more)
			d.nudge("a")
			g.want("made again", "gap reset")
			d.add("a", 9, 9)
			d.nudge("a")
			g.want("what comes next", "9")
			d.vault.reset("a")
			d.nudge("a")
			d.add("a", 1, 3)
			d.nudge("a")
			g.want("from nothing", "gap reset,1,2,3")
		}
	})
}

// What happens between finding a client's place and sending what follows does not change what it is told: one answer, and
// the truth.
func TestDurableHesitantResume(t *testing.T) {
	for _, test := range []struct {
		name      string
		meanwhile func(*durableStand)
		want      string
	}{
		{"nothing", func(*durableStand) {}, "subscribed true"},
		{"an entry comes", func(d *durableStand) { d.add("a", 5, 5); d.nudge("a") }, "subscribed false"},
		{"the stream is made again, with lower ids", func(d *durableStand) {
			d.vault.reset("a")
			d.add("a", 5, 6)
			d.nudge("a")
		}, "subscribed false"},
		{"and nobody heard of it", func(d *durableStand) {
			d.vault.reset("a")
			d.add("a", 5, 6)
		}, "subscribed true"}, // and a gap, as soon as somebody does
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDurableStand(t, troubleless)
				g := d.join(outboxtest.Unlimited)
				g.subscribe("a", "")
				d.add("a", 1, 4)
				d.nudge("a")
				cursor := g.want("at first", "subscribed false,1,2,3,4")
				g.leave()
				d.vault.remove("a", 0) // number 4: the last id stays
				keeper, back := d.join(outboxtest.Unlimited), d.join(outboxtest.Unlimited)
				keeper.subscribe("a", "")
				back.session.ResumeHesitantly("a", cursor, func() { test.meanwhile(d); synctest.Wait() })
				back.want("what it is told", test.want)
				d.nudge("a")
				if got, _ := back.heard(); (got == "gap reset") != (test.name == "and nobody heard of it") {
					t.Errorf("heard %q later", got)
				}
			})
		})
	}
}

// An entry that was deleted by its id, behind the client's own, is not missed: the client has everything.
func TestDurableLastDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDurableStand(t, troubleless)
		g := d.join(outboxtest.Unlimited)
		g.subscribe("a", "")
		d.add("a", 1, 3)
		d.nudge("a")
		cursor := g.want("at first", "subscribed false,1,2,3")
		g.leave()
		d.add("a", 4, 4)
		keeper := d.join(outboxtest.Unlimited)
		keeper.subscribe("a", "")
		d.vault.remove("a", 0)
		back := d.join(outboxtest.Unlimited)
		back.subscribe("a", cursor)
		back.want("back", "subscribed true")
	})
}

// A weakReader reads nothing while it is weak.
type weakReader struct {
	vaultReader
	reads int           // that it has the strength for
	until time.Duration // of the bubble's time, when it is strong again
	born  time.Time
}

// Read implements [relay.Streams].
func (r *weakReader) Read(ctx context.Context, channel string, from stream.ID, limit int) (stream.Page, error) {
	if r.reads--; r.reads < 0 && time.Since(r.born) < r.until {
		return stream.Page{}, errVault
	}
	return r.vaultReader.Read(ctx, channel, from, limit)
}

// A replay that Redis keeps waiting for longer than the command may take goes on when Redis is back; one that was not
// answered by then is refused.
func TestDurableReplayOutlastsTrouble(t *testing.T) {
	for reads, want := range map[int]string{
		0: "error",
		1: "subscribed true," + run(1, 101),
		2: "subscribed true," + run(1, 101),
	} {
		synctest.Test(t, func(t *testing.T) {
			weak := &weakReader{reads: 1000, until: 15 * time.Second, born: time.Now()}
			d := newDurableStand(t, func(v *vault) stream.Store { weak.vaultReader = vaultReader{v}; return weak })
			first := d.join(outboxtest.Unlimited)
			first.subscribe("a", "")
			cursor := first.want("a new client", "subscribed false")
			first.leave()
			d.add("a", 1, 100)
			keeper := d.join(outboxtest.Unlimited)
			keeper.subscribe("a", "")
			weak.reads = reads
			back := d.join(outboxtest.Unlimited)
			back.subscribe("a", cursor)
			time.Sleep(30 * time.Second)
			d.add("a", 101, 101)
			d.nudge("a")
			back.want(fmt.Sprint("with strength for ", reads), want)
		})
	}
}

// A client does not want its own entry back, and does want another that has got its id.
func TestDurableOwnIDAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDurableStand(t, troubleless)
		g := d.join(outboxtest.Unlimited)
		g.subscribe("a", "")
		g.session.Handle([]byte(`{"type":"publish","channel":"a","data":"#1:","echo":false}`), true)
		d.vault.reset("a") // before anybody has read it
		d.add("a", 2, 3)
		d.nudge("a")
		g.want("another with its id", "subscribed false,2,3")
		g.session.Handle([]byte(`{"type":"publish","channel":"a","data":"#4:","echo":false}`), true)
		d.nudge("a")
		g.want("its own", "")
	})
}
