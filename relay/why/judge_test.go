package why_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/why"
)

// entry is the place of an entry of a stream.
func entry(n uint64) blackbox.Place { return blackbox.Place{Major: n} }

// A relay that was killed and started again sends entries that had arrived
// before, to clients that return. Only one record of each says so.
func TestReplayAfterRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "box")
	box, err := blackbox.Open(blackbox.MinBytes, path)
	if err != nil {
		t.Fatal(err)
	}
	first := box.Begin(blackbox.Client{ID: blackbox.SessionID{1}})
	box.Join(first, nil, "order", true, 0)
	for n := range uint64(4) {
		box.Entry(nil, "order", blackbox.Message{Seq: n + 1, At: entry(n + 1), Size: 10})
	}
	if err := box.Close(); err != nil {
		t.Fatal(err)
	}
	if box, err = blackbox.Open(blackbox.MinBytes, path); err != nil {
		t.Fatal(err)
	}
	second := box.Begin(blackbox.Client{ID: blackbox.SessionID{2}})
	box.Await(second, nil, "order", true)
	box.Replay(second, "order", true, blackbox.Replay{From: entry(3), To: entry(4), Frames: 1, Check: entry(3).Hash() + entry(4).Hash()})
	box.Join(second, nil, "order", true, 0)
	box.Entry(nil, "order", blackbox.Message{Seq: 1, At: entry(5), Size: 10})
	defer box.Close() //nolint:errcheck // nothing to lose

	const id1, id2 = "AEAAAAAAAAAAAAAAAAAA", "AIAAAAAAAAAAAAAAAAAA"
	want := map[string][]why.Result{
		id1: {why.Unconfirmed, why.Unconfirmed, why.Unconfirmed, why.Unconfirmed, why.NotThere},
		id2: {why.NotThere, why.NotThere, why.Sent, why.Sent, why.Sent},
	}
	pairs := 0
	r, err := blackbox.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	why.NewCase(r, why.Question{Channel: "order"}).Each(func(m why.Message, session string, result why.Result) {
		pairs++
		if want := want[session][m.Place.Major-1]; result != want {
			t.Errorf("entry %d is %s for %s, want %s", m.Place.Major, result, session, want)
		}
	})
	if pairs != 10 {
		t.Errorf("%d answers, want 10", pairs)
	}
}

// Entries that a client received when it returned are known, although the
// question is only about the last of them.
func TestReplayBeforeQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, err := blackbox.Open(blackbox.MinBytes, "")
		if err != nil {
			t.Fatal(err)
		}
		box.Entry(nil, "order", blackbox.Message{Seq: 1, At: entry(1), Size: 10})
		time.Sleep(time.Minute)
		box.Entry(nil, "order", blackbox.Message{Seq: 2, At: entry(2), Size: 10})
		session := box.Begin(blackbox.Client{ID: blackbox.SessionID{1}})
		box.Replay(session, "order", true, blackbox.Replay{From: entry(1), To: entry(2), Frames: 1, Check: entry(1).Hash() + entry(2).Hash()})
		box.Join(session, nil, "order", true, 2)

		pairs := 0
		question := why.Question{Channel: "order", From: time.Now()}
		why.NewCase(box.NewReader(time.Time{}), question).Each(func(m why.Message, _ string, result why.Result) {
			if pairs++; m.Place != entry(2) || result != why.Sent {
				t.Errorf("entry %d is %s, want %s of entry 2", m.Place.Major, result, why.Sent)
			}
		})
		if pairs != 1 {
			t.Errorf("%d answers, want 1", pairs)
		}
	})
}
