package relay

import (
	"sync"
	"testing"
)

// An entry skips one equal message, and only one, on its own channel.
func TestEchoes(t *testing.T) {
	var e echoes
	e.add("a", 1, 0)
	e.add("a", 1, 0)
	e.add("b", 2, 0)
	for _, step := range []struct {
		why     string
		channel string
		hash    uint64
		want    bool
	}{
		{"another payload", "a", 3, false},
		{"another channel", "b", 1, false},
		{"the first of two equal ones", "a", 1, true},
		{"the second", "a", 1, true},
		{"there is no third", "a", 1, false},
		{"the one on the other channel is still there", "b", 2, true},
	} {
		if got := e.match(step.channel, step.hash, 0); got != step.want {
			t.Errorf("%s: taken %v, want %v", step.why, got, step.want)
		}
	}
}

func TestEchoesDrop(t *testing.T) {
	var e echoes
	e.add("a", 1, 0)
	e.add("a", 1, 0)
	e.drop("a", 1)
	e.drop("b", 1) // was never added
	if !e.match("a", 1, 0) || e.match("a", 1, 0) {
		t.Error("dropping one of two equal entries has to leave the other")
	}
	e.add("a", 1, 0)
	e.clear()
	if e.match("a", 1, 0) {
		t.Error("an entry outlives the link that it was published on")
	}
}

// Forgetting a channel leaves the entries of other channels.
func TestEchoesForget(t *testing.T) {
	var e echoes
	e.add("a", 1, 0)
	e.add("b", 1, 0)
	e.add("a", 2, 0)
	e.forget("a")
	if e.match("a", 1, 0) || e.match("a", 2, 0) || !e.match("b", 1, 0) {
		t.Error("forgetting a channel has to remove its entries, and no others")
	}
}

// An entry expires after 10 s: then an equal message is from another client.
func TestEchoesExpire(t *testing.T) {
	for _, test := range []struct {
		age  int64
		want bool
	}{{0, true}, {echoAge, true}, {echoAge + 1, false}} {
		var e echoes
		e.add("a", 1, 5)
		if got := e.match("a", 1, 5+test.age); got != test.want {
			t.Errorf("after %d ns: taken %v, want %v", test.age, got, test.want)
		}
	}
}

// There are at most 64 entries; a sender receives any more messages itself. Old
// entries expire.
func TestEchoesAreBounded(t *testing.T) {
	var e echoes
	for hash := range uint64(maxEchoes + 1) {
		e.add("a", hash, 0)
	}
	if len(e.list) != maxEchoes || e.match("a", maxEchoes, 0) || !e.match("a", maxEchoes-1, 0) {
		t.Errorf("%d entries, want the first %d", len(e.list), maxEchoes)
	}
	e.add("a", 1000, echoAge+1)
	if len(e.list) != 1 || !e.match("a", 1000, echoAge+1) {
		t.Errorf("%d entries, want only the new one", len(e.list))
	}
}

// A client's commands add entries while the shard matches them.
func TestEchoesConcurrently(t *testing.T) {
	var e echoes
	var both sync.WaitGroup
	const n = 5000
	taken := 0
	both.Go(func() {
		for taken < n {
			if e.match("a", 1, 0) {
				taken++
			}
		}
	})
	both.Go(func() {
		for i := 0; i < n; {
			before := e.size()
			if before < maxEchoes {
				e.add("a", 1, 0)
				i++
			}
		}
	})
	both.Wait()
	if e.size() != 0 {
		t.Errorf("%d entries are left", e.size())
	}
}

func (e *echoes) size() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.list)
}
