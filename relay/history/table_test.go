package history

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestChannelsOfOneHash checks that channels with equal hashes are found by
// their names, and not found after they were removed. Removing a channel twice
// is allowed.
func TestChannelsOfOneHash(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	c, known := newTable[struct{}](), map[string]*Channel[struct{}]{}
	for range 10_000 {
		name := fmt.Sprint(random.IntN(30))
		hash := uint64(len(name))
		if random.IntN(2) == 0 {
			ch, isNew := c.add(hash, name)
			if was := known[name]; ch.name != name || isNew != (was == nil) || was != nil && was != ch {
				t.Fatalf("add(%q) = %q, new: %v", name, ch.name, isNew)
			}
			known[name] = ch
		} else if ch := known[name]; ch != nil {
			c.remove(ch)
			c.remove(ch)
			delete(known, name)
		}
		for i := range 30 {
			name := fmt.Sprint(i)
			if got := c.find(uint64(len(name)), []byte(name)); got != known[name] {
				t.Fatalf("find(%q) = %v, want %v", name, got, known[name])
			}
		}
	}
	for _, ch := range known {
		c.remove(ch)
	}
	if len(c.first) > 0 {
		t.Errorf("%d hashes are left after all channels were removed", len(c.first))
	}
}

// TestChannelKeepsItsName covers names that fit into the channel and names that
// do not.
func TestChannelKeepsItsName(t *testing.T) {
	for _, size := range []int{0, 1, 47, 48, 49, 200} {
		ch := newChannel[struct{}](strings.Repeat("n", size))
		if ch.name != strings.Repeat("n", size) {
			t.Errorf("a name of %d bytes is %q", size, ch.name)
		}
	}
}
