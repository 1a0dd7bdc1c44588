package source

import (
	"errors"
	"testing"
	"time"
)

// TestDeposedMasterIsWatched checks when the watch of a master that Sentinels
// have replaced ends, and whether clients get a gap then.
func TestDeposedMasterIsWatched(t *testing.T) {
	gone, refused := errors.New("connection refused"), refusal("LOADING Redis is loading the dataset in memory")
	type answer struct {
		after time.Duration // since the link left
		err   error         // of the question for the role; nil for a master
	}
	for _, tt := range []struct {
		name      string
		answers   []answer // the last one ends the watch
		over, gap bool
	}{
		{"a replica", []answer{{0, nil}, {9 * time.Second, nil}, {10 * time.Second, errReplica}}, true, true},
		{"gone", []answer{{0, gone}, {29 * time.Second, gone}, {30 * time.Second, gone}}, true, true},
		{"gone later", []answer{{10 * time.Second, nil}, {39 * time.Second, gone}, {40 * time.Second, gone}}, true, true},
		{"back as a master", []answer{{20 * time.Second, gone}, {25 * time.Second, refused}, {50 * time.Second, gone}}, false, false},
		{"without the right to ROLE", []answer{{299 * time.Second, errRoleUnsupported}}, false, false},
		{"still a master", []answer{{299 * time.Second, nil}, {300 * time.Second, nil}}, true, false},
	} {
		left := time.Now()
		m := &deposedMaster{leftAt: left, answeredAt: left}
		for i, a := range tt.answers {
			over, gap := m.judge(left.Add(a.after), a.err)
			last := i == len(tt.answers)-1
			if over != (last && tt.over) || gap != (last && tt.gap) {
				t.Errorf("%s, after %v: over %v, gap %v", tt.name, a.after, over, gap)
			}
		}
	}
}

// A server that the link returns to is not watched.
func TestDeposedMasterReturns(t *testing.T) {
	d := newDeposedMasters(nil)
	d.follow("", "a")
	d.follow("a", "a")
	d.follow("a", "b")
	d.follow("a", "b")
	if len(d.list()) != 1 || d.list()["a"] == nil {
		t.Errorf("after a failover from a to b are watched: %v", d.list())
	}
	a := d.list()["a"]
	d.follow("b", "a")
	if len(d.list()) != 1 || d.list()["b"] == nil || d.remove("a", a) {
		t.Errorf("after a failover back to a are watched: %v", d.list())
	}
}
