package presence

import (
	"testing"
	"time"
)

// Each case is a story about the members of one channel. After each, the
// application has received these events.
func TestStories(t *testing.T) {
	for _, test := range []struct {
		name string // what is verified
		play func(w *world, a, b *relay)
		want []string
	}{
		{"a user arrives and leaves", func(w *world, a, _ *relay) {
			a.open("chat", "1")
			w.pass(time.Second)
			w.want("chat", "1")
			a.close("chat", "1")
			w.pass(4 * time.Second)
			w.want("chat", "1")
			w.pass(2 * time.Second)
			w.want("chat")
		}, []string{"joined 1", "left 1"}},
		{"a visit that is shorter than a pass is one", func(w *world, a, _ *relay) {
			a.open("chat", "1")
			a.close("chat", "1")
			w.pass(4 * time.Second)
			w.want("chat", "1")
			w.pass(2 * time.Second)
			w.want("chat")
		}, []string{"joined 1", "left 1"}},
		{"two pages at one relay are one member", func(w *world, a, _ *relay) {
			a.open("chat", "1")
			a.open("chat", "1")
			w.pass(time.Second)
			a.close("chat", "1")
			w.pass(time.Minute)
			w.want("chat", "1")
		}, []string{"joined 1"}},
		{"two pages at two relays are one member, whichever ends first", func(w *world, a, b *relay) {
			a.open("chat", "1")
			b.open("chat", "1")
			w.pass(time.Second)
			a.close("chat", "1")
			w.pass(time.Minute)
			w.want("chat", "1")
			b.close("chat", "1")
			w.pass(6 * time.Second)
			w.want("chat")
		}, []string{"joined 1", "left 1"}},
		{"a reload is no departure", func(w *world, a, _ *relay) {
			a.open("chat", "1")
			w.pass(time.Second)
			a.close("chat", "1")
			w.pass(3 * time.Second)
			a.open("chat", "1")
			w.pass(time.Minute)
			w.want("chat", "1")
		}, []string{"joined 1"}},
		{"nor is one that ends at another relay", func(w *world, a, b *relay) {
			a.open("chat", "1")
			w.pass(time.Second)
			a.close("chat", "1")
			w.pass(3 * time.Second)
			b.open("chat", "1")
			w.pass(time.Minute)
			w.want("chat", "1")
		}, []string{"joined 1"}},
		{"the members of a killed relay leave after one lease", func(w *world, a, b *relay) {
			a.open("chat", "1")
			b.open("chat", "2")
			w.pass(time.Minute)
			w.kill(a)
			w.pass(18 * time.Second)
			w.want("chat", "1", "2")
			w.pass(18 * time.Second)
			w.want("chat", "2")
		}, []string{"joined 1", "joined 2", "left 1"}},
		{"a user of a killed relay who connects to another one has not left", func(w *world, a, b *relay) {
			a.open("chat", "1")
			w.pass(time.Minute)
			w.kill(a)
			w.pass(10 * time.Second)
			b.open("chat", "1")
			w.pass(time.Minute)
			w.want("chat", "1")
			b.close("chat", "1")
			w.pass(6 * time.Second)
			w.want("chat")
		}, []string{"joined 1", "left 1"}},
		{"a killed relay does not prolong what another one ends", func(w *world, a, b *relay) {
			a.open("chat", "1")
			b.open("chat", "1")
			w.pass(time.Minute)
			w.kill(a)
			w.pass(15 * time.Second)
			b.close("chat", "1")
			w.pass(21 * time.Second) // the lease of the other has ended
			w.want("chat")
		}, []string{"joined 1", "left 1"}},
		{"a relay that is shut down leaves its members the grace period", func(w *world, a, b *relay) {
			a.open("chat", "1")
			a.open("chat", "2")
			w.pass(time.Minute)
			w.shutDown(a)
			w.pass(3 * time.Second)
			w.want("chat", "1", "2")
			b.open("chat", "1")
			w.pass(8 * time.Second)
			w.want("chat", "1")
		}, []string{"joined 1", "joined 2", "left 2"}},
		{"a relay without a connection for longer than a lease loses its members, who return", func(w *world, a, b *relay) {
			a.open("chat", "1")
			w.pass(time.Minute)
			a.link(false)
			w.pass(40 * time.Second)
			if got := w.members("chat"); len(got) > 0 {
				w.t.Errorf("the members are %q", got)
			}
			a.link(true)
			w.pass(time.Minute)
			w.want("chat", "1")
		}, []string{"joined 1", "left 1", "joined 1"}},
		{"a short outage of one relay is nothing", func(w *world, a, b *relay) {
			a.open("chat", "1")
			w.pass(time.Minute)
			a.link(false)
			w.pass(15 * time.Second)
			a.link(true)
			w.pass(time.Minute)
			w.want("chat", "1")
		}, []string{"joined 1"}},
		{"nobody leaves because Redis was down for long", func(w *world, a, b *relay) {
			a.open("chat", "1")
			b.open("chat", "2")
			w.pass(time.Minute)
			a.link(false)
			b.link(false)
			w.pass(5 * time.Minute)
			b.link(true)
			w.pass(20 * time.Second)
			a.link(true)
			w.pass(time.Minute)
			w.want("chat", "1", "2")
		}, []string{"joined 1", "joined 2"}},
		{"nor because it lost its data, and who left meanwhile has", func(w *world, a, b *relay) {
			a.open("chat", "1")
			b.open("chat", "2")
			b.open("chat", "3")
			w.pass(time.Minute)
			a.link(false)
			b.link(false)
			w.wipe()
			w.pass(10 * time.Second)
			b.close("chat", "3")
			w.pass(10 * time.Second)
			b.link(true)
			w.pass(time.Second)
			a.link(true)
			w.pass(time.Minute)
			w.want("chat", "1", "2")
		}, []string{"joined 1", "joined 2", "joined 3", "left 3"}},
		{"a user at another relay is no arrival after a loss of data", func(w *world, a, b *relay) {
			a.open("chat", "1")
			w.pass(time.Minute)
			a.link(false)
			b.link(false)
			w.wipe()
			b.link(true)
			b.open("chat", "1")
			b.open("chat", "2")
			w.pass(2 * time.Second)
			a.link(true)
			w.pass(time.Minute)
			w.want("chat", "1", "2")
		}, []string{"joined 1", "joined 2"}},
		{"a reload is no departure either if it ends at a relay that starts soon after a loss of data", func(w *world, a, _ *relay) {
			a.open("chat", "1")
			w.pass(time.Minute)
			w.wipe()
			w.pass(20 * time.Second)
			a.close("chat", "1")
			w.pass(time.Second)
			w.start("c", Config{}).open("chat", "1")
			w.pass(time.Minute)
			w.want("chat", "1")
		}, []string{"joined 1"}},
		{"or at one that is connected again", func(w *world, a, b *relay) {
			a.open("chat", "1")
			w.pass(time.Minute)
			w.wipe()
			w.pass(20 * time.Second)
			b.link(false)
			a.close("chat", "1")
			w.pass(time.Second)
			b.link(true)
			b.open("chat", "1")
			w.pass(time.Minute)
			w.want("chat", "1")
		}, []string{"joined 1"}},
		{"nor if a relay is replaced then", func(w *world, a, _ *relay) {
			a.open("chat", "1")
			w.pass(time.Minute)
			w.wipe()
			w.pass(20 * time.Second)
			w.shutDown(a)
			w.pass(2 * time.Second)
			w.start("c", Config{}).open("chat", "1")
			w.pass(4 * time.Second)
			w.want("chat", "1")
			w.pass(time.Minute)
			w.want("chat", "1")
		}, []string{"joined 1"}},
		{"a visit that ends while arrivals wait is one", func(w *world, a, _ *relay) {
			w.pass(time.Minute)
			w.wipe()
			w.pass(20 * time.Second)
			c := w.start("c", Config{})
			c.open("chat", "1")
			w.pass(3 * time.Second)
			w.want("chat")
			c.close("chat", "1")
			w.pass(4 * time.Second)
			w.want("chat", "1")
			w.pass(time.Minute)
			w.want("chat")
		}, []string{"joined 1", "left 1"}},
		{"data that is lost while the relays are connected is written again", func(w *world, a, b *relay) {
			a.open("chat", "1")
			b.open("chat", "2")
			w.pass(time.Minute)
			w.wipe()
			w.pass(time.Minute)
			w.want("chat", "1", "2")
		}, []string{"joined 1", "joined 2"}},
		{"a page that was opened and closed without Redis was never there", func(w *world, a, _ *relay) {
			w.pass(time.Minute)
			a.link(false)
			a.open("chat", "1")
			w.pass(time.Second)
			a.close("chat", "1")
			w.pass(30 * time.Second)
			a.link(true)
			w.pass(time.Minute)
			w.want("chat")
		}, nil},
		{"a member that was removed by hand returns", func(w *world, a, _ *relay) {
			a.open("chat", "1")
			w.pass(time.Minute)
			w.client.Del(w.t.Context(), testNames.Public("presence:chat"))
			w.pass(15 * time.Second)
			w.want("chat", "1")
		}, []string{"joined 1", "joined 1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, 1)
			a, b := w.start("a", Config{}), w.start("b", Config{})
			a.watch("chat")
			b.watch("chat")
			w.pass(40 * time.Second) // relays that have just connected wait before they remove anybody
			test.play(w, a, b)
			w.wantEvents(test.want...)
		})
	}
}
