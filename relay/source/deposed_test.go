package source

import (
	"errors"
	"testing"
	"time"
)

// TestDeposedMasterIsWatched checks when clients get a gap because of a master
// that Sentinels have replaced, and when its watch ends.
func TestDeposedMasterIsWatched(t *testing.T) {
	gone, refused := errors.New("connection refused"), refusal("LOADING Redis is loading the dataset in memory")
	type answer struct {
		after time.Duration // since the link left
		err   error         // of the question for the role; nil for a master
	}
	const s = time.Second
	for _, tt := range []struct {
		name    string
		answers []answer
		want    []deposedState
		over    bool // after the last answer
	}{
		{"a replica", []answer{{0, nil}, {9 * s, nil}, {10 * s, errReplica}}, []deposedState{0, 0, deposedDemoted}, true},
		{"gone", []answer{{0, gone}, {29 * s, gone}, {30 * s, gone}, {31 * s, gone}, {299 * s, gone}, {300 * s, gone}},
			[]deposedState{0, 0, deposedSilent, 0, 0, 0}, true},
		{"gone later", []answer{{10 * s, nil}, {39 * s, gone}, {40 * s, gone}}, []deposedState{0, 0, deposedSilent}, false},
		{"back as a master", []answer{{20 * s, gone}, {25 * s, refused}, {50 * s, gone}}, []deposedState{0, 0, 0}, false},
		{"back after the gap", []answer{{30 * s, gone}, {50 * s, refused}, {51 * s, nil}, {59 * s, errReplica}},
			[]deposedState{deposedSilent, 0, 0, deposedDemoted}, true},
		{"back and gone again", []answer{{30 * s, gone}, {50 * s, nil}, {79 * s, gone}, {80 * s, gone}},
			[]deposedState{deposedSilent, 0, 0, deposedSilent}, false},
		{"back as a replica", []answer{{30 * s, gone}, {50 * s, errReplica}}, []deposedState{deposedSilent, 0}, true},
		{"back as a master for good", []answer{{30 * s, gone}, {50 * s, nil}, {300 * s, nil}},
			[]deposedState{deposedSilent, 0, deposedStillMaster}, true},
		{"without the right to ROLE", []answer{{299 * s, errRoleUnsupported}}, []deposedState{0}, false},
		{"still a master", []answer{{299 * s, nil}, {300 * s, nil}}, []deposedState{0, deposedStillMaster}, true},
		{"gone at the end", []answer{{290 * s, nil}, {300 * s, gone}, {319 * s, gone}, {320 * s, gone}},
			[]deposedState{0, 0, 0, deposedSilent}, true},
	} {
		left := time.Now()
		m := &deposedMaster{leftAt: left, answeredAt: left}
		for i, a := range tt.answers {
			state, over := m.judge(left.Add(a.after), a.err)
			if last := i == len(tt.answers)-1; state != tt.want[i] || over != (last && tt.over) {
				t.Errorf("%s, after %v: state %v, over %v", tt.name, a.after, state, over)
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
	if len(d.list()) != 1 || d.list()["b"] == nil || d.watches("a", a, true) {
		t.Errorf("after a failover back to a are watched: %v", d.list())
	}
}
