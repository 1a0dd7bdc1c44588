package relay

import (
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/protocol"
)

// items returns n items that charge bytes each.
func items(n, bytes int) []item {
	list := make([]item, n)
	for i := range list {
		list[i].seq = uint64(i + 1)
		list[i].frames[protocol.RawID] = make([]byte, bytes-itemCharge)
	}
	return list
}

// A full mailbox makes only the source wait; an empty one accepts anything.
func TestMailboxIsBounded(t *testing.T) {
	for _, test := range []struct {
		why   string
		put   [][]item
		waits bool // the last put
	}{
		{"one larger than the box", [][]item{items(1, 2*mailboxBytes)}, false},
		{"just full", [][]item{items(1, mailboxBytes/2), items(1, mailboxBytes/2)}, false},
		{"one byte more", [][]item{items(1, mailboxBytes/2), items(1, mailboxBytes/2+1)}, true},
		{"small after one that is too large", [][]item{items(1, 2*mailboxBytes), items(1, itemCharge)}, true},
		{"many without bytes count too", [][]item{items(mailboxBytes/itemCharge, itemCharge), items(1, itemCharge)}, true},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var box mailbox
				box.init()
				done, total := 0, 0
				go func() {
					for _, list := range test.put {
						box.put(list)
						done++
					}
				}()
				for _, list := range test.put {
					total += len(list)
				}
				synctest.Wait()
				if waits := done < len(test.put); waits != test.waits {
					t.Errorf("the last put waits: %v", waits)
				}
				taken := len(box.take(nil))
				synctest.Wait()
				if taken += len(box.take(nil)); taken != total || done != len(test.put) || !box.empty() {
					t.Errorf("taken %d of %d, %d puts of %d done", taken, total, done, len(test.put))
				}
			})
		})
	}
}

// Closing a mailbox ends the waits of the source and of the shard.
func TestMailboxCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full, empty mailbox
		full.init()
		empty.init()
		full.put(items(1, mailboxBytes))
		released, ended := false, false
		go func() { full.put(items(1, mailboxBytes)); released = true }()
		go func() { ended = !empty.wait() }()
		synctest.Wait()
		if released || ended {
			t.Fatal("the source or the shard does not wait")
		}
		full.close()
		empty.close()
		synctest.Wait()
		if !released || !ended || full.wait() {
			t.Errorf("after closing: the source is released: %v, the shard: %v", released, ended)
		}
	})
}

// The mailbox fills the same two slices in turn.
func TestMailboxReusesSlices(t *testing.T) {
	var box mailbox
	box.init()
	box.put(items(10, 1000))
	first := box.take(nil)
	clear(first)
	box.put(items(3, 1000))
	second := box.take(first[:0])
	box.put(items(5, 1000))
	third := box.take(second[:0])
	if len(second) != 3 || len(third) != 5 || &third[0] != &first[0] || third[4].seq != 5 {
		t.Errorf("taken %d, then %d", len(second), len(third))
	}
	if got := testing.AllocsPerRun(100, func() {
		box.put(third[:2])
		second = box.take(second[:0])
	}); got > 1 {
		t.Errorf("%v allocations a round", got)
	}
}

// The lag of a batch counts from the moment at which its first item was put, and
// that of the next one is shorter.
func TestMailboxSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var box mailbox
		box.init()
		lag := func() time.Duration { box.take(nil); return time.Since(box.taken) }
		box.put(items(1, 1000))
		time.Sleep(time.Second)
		box.put(items(1, 1000))
		time.Sleep(time.Second)
		if got := lag(); got != 2*time.Second {
			t.Errorf("the first batch has waited for %v", got)
		}
		time.Sleep(time.Minute)
		box.put(items(1, 1000))
		time.Sleep(time.Millisecond)
		if got := lag(); got != time.Millisecond {
			t.Errorf("the second batch has waited for %v", got)
		}
	})
}
