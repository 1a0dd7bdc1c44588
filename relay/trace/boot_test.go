package trace

import (
	"path/filepath"
	"testing"

	"sidecast/relay/blackbox"
)

// Sessions have the same numbers again when a relay has restarted: those of
// before, which ended with the relay, are other ones.
func TestFollowerAfterRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "box")
	open := func() *blackbox.Box {
		box, err := blackbox.Open(1<<20, path)
		if err != nil {
			t.Fatal(err)
		}
		return box
	}
	var before blackbox.Name
	box := open()
	box.Join(box.Begin(blackbox.Client{User: "old"}), &before, "chat:1", false, 0)
	if err := box.Close(); err != nil { // without an end of the session, as if the relay was killed
		t.Fatal(err)
	}
	box = open()
	defer box.Close() //nolint:errcheck // of a test
	var name, other blackbox.Name
	f := NewFollower(box, "chat:1", "chat:1", func() map[string]int { return nil })
	s := box.Begin(blackbox.Client{User: "new"})
	box.Gap(blackbox.Gap{Session: s, Reason: "history"}) // it is on no channel yet
	box.Join(s, &other, "another", false, 0)
	box.Join(s, &name, "chat:1", false, 0)
	box.End(s, blackbox.End{})
	if got := brief(f.Poll()); got != "join new sidecast.v1; leave new sidecast.v1" && got != "join new raw; leave new raw" {
		t.Errorf("%q", got)
	}
}

// A session has the id that its client and the log of the relay have.
func TestFollowerNamesSessions(t *testing.T) {
	box := newBox(t)
	var name blackbox.Name
	f := NewFollower(box, "chat:1", "chat:1", func() map[string]int { return nil })
	box.Join(box.Begin(blackbox.Client{ID: blackbox.SessionID{1, 2, 3}}), &name, "chat:1", false, 0)
	if events := f.Poll(); len(events) != 1 || events[0].Session != "AEBAGAAAAAAAAAAAAAAA" {
		t.Errorf("%+v", events)
	}
}
