package relay_test

import (
	"testing"
	"testing/synctest"

	"sidecast/relay"
)

// A stream that is made again may give the very id again that the relay has come to: its listeners are told, and hear what
// comes next.
func TestDurableSameIDAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDurableStand(t, troubleless)
		g := d.join(relay.Unlimited)
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
