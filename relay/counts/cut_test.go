package counts

import (
	"testing"
	"time"
)

// A client that goes from one new channel to the next costs no memory while the
// link is down: the relay forgets the channels that Redis has never had.
func TestNewChannelsWhileLinkIsCut(t *testing.T) {
	for _, stays := range []bool{false, true} {
		w := newWorld(t, 1)
		r := w.start("a")
		r.join("chat", true)
		w.pass(late)
		r.link(false)
		if !stays { // Redis has it, so it must be deleted there
			r.leave("chat", true)
		}
		for i := range 100 {
			r.join(name(i), true)
			w.pass(2 * time.Second)
			r.leave(name(i), true)
			w.pass(2 * time.Second)
		}
		if n, dirty := len(r.worker.channels), len(r.worker.dirty); n > 1 || dirty > 1 {
			t.Errorf("the relay remembers %d channels, and writes %d", n, dirty)
		}
		r.link(true)
		w.pass(late)
		w.want()
		w.wantKeys()
		if n := len(r.worker.channels); n != len(r.all) {
			t.Errorf("the relay remembers %d channels of %d", n, len(r.all))
		}
	}
}
