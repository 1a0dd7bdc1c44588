package roster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// list returns members with these ids.
func list(users ...string) (all []Member) {
	for _, user := range users {
		all = append(all, Member{User: user})
	}
	return all
}

func joined(version int64, user string, count int) Change {
	return Change{Version: version, Kind: Joined, Member: Member{User: user}, Count: count}
}

func left(version int64, user string, count int) Change {
	return Change{Version: version, Kind: Left, Member: Member{User: user}, Count: count}
}

// describe returns an update as text.
func describe(u Update, news bool) string {
	var lines []string
	for _, c := range u.Changes {
		lines = append(lines, fmt.Sprintf("%c%s%d", c.Kind, c.User, c.Count))
	}
	switch {
	case !news:
		return ""
	case len(lines) > 0:
		return strings.Join(lines, " ")
	case u.Members == nil:
		return fmt.Sprint("count ", u.Count)
	}
	return fmt.Sprintf("all %s %d", users(u.Members), u.Count)
}

// users returns the ids in a JSON list, in order.
func users(members []byte) string {
	var all []struct{ User string }
	if err := json.Unmarshal(members, &all); err != nil {
		return err.Error()
	}
	var ids []string
	for _, m := range all {
		ids = append(ids, m.User)
	}
	slices.Sort(ids)
	return strings.Join(ids, ",")
}

// Each case is a roster of at most 3 members, loaded at version 10 with a and b.
// Clients are sent the text after each list of changes.
func TestApply(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps [][]Change
		want  []string
	}{
		{"an arrival", [][]Change{{joined(11, "c", 3)}}, []string{"+c3"}},
		{"a departure", [][]Change{{left(11, "a", 1)}}, []string{"-a1"}},
		{"a change that was loaded", [][]Change{{joined(10, "c", 3)}, {left(9, "a", 1)}}, []string{"", ""}},
		{"an arrival that is known", [][]Change{{joined(11, "a", 2)}}, []string{""}},
		{"a departure that is known", [][]Change{{left(11, "x", 2)}}, []string{""}},
		{"another info", [][]Change{{{Version: 11, Kind: Renewed, Member: Member{User: "a", Info: []byte("1")}}}}, []string{""}},
		{"several changes", [][]Change{{joined(11, "c", 3), left(12, "a", 2), left(13, "c", 1)}}, []string{"+c3 -a2 -c1"}},
		{"too many members", [][]Change{{joined(11, "c", 3), joined(12, "d", 4), joined(13, "e", 5)}, {left(14, "e", 4)}, {left(15, "d", 3)}},
			[]string{"count 5", "", ""}},
	} {
		r := New(3, nil)
		r.Load(10, 2, list("a", "b"))
		for i, changes := range test.steps {
			if got := describe(r.Apply(changes)); got != test.want[i] {
				t.Errorf("%s, step %d: clients are sent %q, want %q", test.name, i+1, got, test.want[i])
			}
		}
	}
}

// A roster that is not loaded has no news, and its snapshot no members.
func TestUnknown(t *testing.T) {
	r := New(0, nil)
	if got := describe(r.Apply([]Change{joined(1, "a", 1)})); got != "" || r.Known() {
		t.Errorf("clients are sent %q", got)
	}
	if s := r.Snapshot(Member{User: "me"}); s.Members != nil || s.Count != 0 || s.Seq != 0 {
		t.Errorf("the snapshot is %+v", s)
	}
	if got := describe(r.Load(5, 1, list("a")), true); got != "all a 1" {
		t.Errorf("clients are sent %q", got)
	}
}

// After an outage, changes count whatever their versions are, until the roster
// is loaded. The number of members of a large channel is not sent before that.
func TestLose(t *testing.T) {
	r := New(3, nil)
	r.Load(10, 2, list("a", "b"))
	r.Lose()
	if got := describe(r.Apply([]Change{joined(2, "c", 1)})); got != "+c3" {
		t.Errorf("clients are sent %q", got)
	}
	r.Load(20, 9, list("a", "b", "c"))
	r.Lose()
	r.Apply([]Change{joined(1, "x", 1)})
	if got := describe(r.Count()); got != "" {
		t.Errorf("clients are sent %q", got)
	}
	if got := describe(r.Load(30, 1, list("x")), true); got != "all x 1" {
		t.Errorf("clients are sent %q", got)
	}
}

// The number of members of a large channel is sent if it has changed. When there
// are few enough, the roster wants to be loaded.
func TestLarge(t *testing.T) {
	r := New(3, nil)
	if got := describe(r.Load(10, 5, list("a", "b", "c")), true); got != "count 5" {
		t.Errorf("clients are sent %q", got)
	}
	if got := describe(r.Count()); got != "" {
		t.Errorf("nothing has changed, but clients are sent %q", got)
	}
	r.Apply([]Change{left(11, "x", 4), left(12, "a", 3)})
	if got := describe(r.Count()); got != "count 3" || !r.Shrunk() {
		t.Errorf("clients are sent %q", got)
	}
	if s := r.Snapshot(Member{User: "b"}); users(s.Members) != "b" || s.Count != 3 {
		t.Errorf("the snapshot is %s, %d", s.Members, s.Count)
	}
	if got := describe(r.Load(12, 3, list("b", "c", "d")), true); got != "all b,c,d 3" || r.Shrunk() {
		t.Errorf("clients are sent %q", got)
	}
}

// A client is in its snapshot, and the list has no more members than allowed.
func TestSnapshot(t *testing.T) {
	for _, test := range []struct {
		count   int
		members []Member
		want    string
		total   int
	}{
		{0, nil, "me", 1},
		{1, list("me"), "me", 1},
		{2, list("a", "b"), "a,b,me", 3},
		{3, list("a", "b", "c"), "a,b,me", 4},
		{9, list("a", "b", "c"), "a,b,me", 9},
	} {
		r := New(3, nil)
		r.Load(1, test.count, test.members)
		for range 2 {
			if s := r.Snapshot(Member{User: "me"}); users(s.Members) != test.want || s.Count != test.total {
				t.Errorf("%d members: the snapshot is %s, %d, want %s, %d", test.count, s.Members, s.Count, test.want, test.total)
			}
		}
	}
}

// A list of too many bytes counts as too many members.
func TestBytes(t *testing.T) {
	r := New(0, nil)
	info := []byte(`"` + strings.Repeat("x", 1000) + `"`)
	r.Load(0, 0, nil)
	n := 0
	for ; !r.Large(); n++ {
		r.Apply([]Change{{Version: int64(n + 1), Kind: Joined, Member: Member{User: fmt.Sprint(n), Info: info}, Count: n + 1}})
	}
	if s := r.Snapshot(Member{User: "me"}); len(s.Members) > MaxBytes+100 || s.Count != n || n < 200 {
		t.Errorf("with %d members, the list has %d bytes", n, len(s.Members))
	}
}

// An update of a roster that is still on its way to a client is older than the
// snapshot of the next roster of that channel, and what follows is newer.
func TestNextRoster(t *testing.T) {
	var numbers Sequence
	first := New(0, &numbers)
	first.Load(1, 0, nil)
	var late Update
	for version := range int64(5) {
		late, _ = first.Apply([]Change{joined(2+version, fmt.Sprint(version), 1)})
	}
	next := New(0, &numbers)
	if s := next.Snapshot(Member{User: "me"}); s.Seq < late.Seq {
		t.Errorf("before it is loaded, the snapshot has number %d, and an older update has %d", s.Seq, late.Seq)
	}
	next.Load(9, 0, nil)
	s := next.Snapshot(Member{User: "me"})
	if s.Seq <= late.Seq {
		t.Errorf("the snapshot has number %d, and an older update has %d", s.Seq, late.Seq)
	}
	if u, _ := next.Apply([]Change{joined(10, "a", 1)}); u.Seq <= s.Seq {
		t.Errorf("an update has number %d, and the snapshot before has %d", u.Seq, s.Seq)
	}
}

// After random changes, the list is what a map says, and the notices lead to it.
func TestRandomChanges(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		r, truth, known := New(0, nil), map[string]bool{}, map[string]bool{}
		r.Load(0, 0, nil)
		for version := int64(1); version < 200; version++ {
			user := fmt.Sprint("u", random.IntN(20))
			c := joined(version, user, 0)
			if random.IntN(2) == 0 {
				c.Kind = Left
			}
			truth[user] = c.Kind == Joined
			u, _ := r.Apply([]Change{c})
			for _, c := range u.Changes {
				known[c.User] = c.Kind == Joined
			}
		}
		present := func(m map[string]bool) (all []string) {
			for user, is := range m {
				if is {
					all = append(all, user)
				}
			}
			slices.Sort(all)
			return all
		}
		s := r.Snapshot(Member{User: present(truth)[0]})
		if want := strings.Join(present(truth), ","); users(s.Members) != want || strings.Join(present(known), ",") != want {
			t.Fatalf("seed %d: the list is %s and clients know %v, want %s", seed, s.Members, present(known), want)
		}
	}
}
