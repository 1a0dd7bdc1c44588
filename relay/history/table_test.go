package history

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Channels are found by their names even where all of those have few hashes, and are gone once they were removed, which
// may happen twice.
func TestChannelsOfOneHash(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	c, known := newTable[struct{}](), map[string]*Channel[struct{}]{}
	for range 10_000 {
		name := fmt.Sprint(random.IntN(30))
		hash := uint64(len(name))
		if random.IntN(2) == 0 {
			ch, isNew := c.add(hash, name)
			if was := known[name]; ch.name != name || isNew != (was == nil) || was != nil && was != ch {
				t.Fatalf("adding %q finds %q, new: %v", name, ch.name, isNew)
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
				t.Fatalf("%q is found: %v, want %v", name, got, known[name])
			}
		}
	}
	for _, ch := range known {
		c.remove(ch)
	}
	if len(c.first) > 0 {
		t.Errorf("%d hashes are left", len(c.first))
	}
}

// A channel keeps its name, whether that fits it or not, when what it was made of changes.
func TestChannelKeepsItsName(t *testing.T) {
	for _, size := range []int{0, 1, 47, 48, 49, 200} {
		ch := newChannel[struct{}](strings.Repeat("n", size))
		if ch.name != strings.Repeat("n", size) {
			t.Errorf("a name of %d bytes becomes %q", size, ch.name)
		}
	}
}
