package presence

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/roster"
)

// If the clock of Redis is set forward by more than a lease, or the whole
// machine was suspended, nobody has left.
func TestClockIsSetForward(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.start("a", Config{}), w.start("b", Config{})
	a.watch("chat")
	a.open("chat", "1")
	w.pass(time.Second)
	b.open("chat", "2")
	w.pass(time.Minute)
	w.wantEvents("joined 1", "joined 2")
	for range 20 { // whichever relay works first, and on what
		w.began = w.began.Add(time.Hour)
		w.pass(41 * time.Second)
		w.want("chat", "1", "2")
		w.wantEvents()
	}
	w.kill(b)
	w.pass(70 * time.Second)
	w.want("chat", "1")
	w.wantEvents("left 2")
}

// A client that watches a channel again has a new roster. What was told about
// the one before is older.
func TestWatchAgain(t *testing.T) {
	w := newWorld(t, 1)
	a := w.start("a", Config{})
	a.watch("chat")
	for _, user := range []string{"1", "2", "3"} {
		w.pass(time.Second)
		a.open("chat", user)
	}
	w.pass(time.Second)
	last := a.views["chat"].seq
	a.unwatch("chat")
	v := a.watch("chat")
	if v.seq < last {
		t.Errorf("the new roster begins at %d, and the last update of the other is %d", v.seq, last)
	}
	w.pass(time.Second)
	w.want("chat", "1", "2", "3")
}

// A member that another program has written, with a name that no user has, is
// not one of too many.
func TestInvalidMember(t *testing.T) {
	w := newWorld(t, 1)
	a := w.start("a", Config{})
	a.open("chat", "1")
	w.pass(time.Second)
	if err := w.client.ZAdd(t.Context(), testNames.Public("presence:chat"), redis.Z{Score: 2e9, Member: "a\nb"}).Err(); err != nil {
		t.Fatal(err)
	}
	v := a.watch("chat")
	w.pass(time.Second)
	if !v.users["1"] || v.count != 1 {
		t.Errorf("the client knows %v, %d members", v.users, v.count)
	}
}

// A key that another program has replaced concerns its channel only. When it is
// gone, the members return.
func TestKeyOfAnotherType(t *testing.T) {
	for _, key := range []string{testNames.Public("presence:bad"), testNames.Internal("holders:bad")} {
		t.Run(key, func(t *testing.T) {
			w := newWorld(t, 1)
			a, b := w.start("a", Config{}), w.start("b", Config{})
			b.watch("chat")
			for _, channel := range []string{"bad", "chat"} {
				a.open(channel, "1")
				b.open(channel, "2")
			}
			w.pass(time.Minute)
			w.events = nil
			if err := w.client.Set(t.Context(), key, "not a set", 0).Err(); err != nil {
				t.Fatal(err)
			}
			a.watch("bad")
			a.open("bad", "3")
			w.pass(20 * time.Second)
			a.open("chat", "4")
			w.pass(3 * time.Second)
			w.want("chat", "1", "2", "4")
			b.close("bad", "2")
			w.pass(20 * time.Second)
			b.close("chat", "2")
			for range 60 {
				w.pass(time.Second)
				expiry, err := w.client.ZScore(t.Context(), testNames.Public("presence:chat"), "1").Result()
				if left := expiry - float64(w.began.Add(w.now).Unix()); err != nil || left < 15 {
					t.Fatalf("a member of another channel expires in %g s, %v", left, err)
				}
			}
			w.wantEvents("joined 4", "left 2")
			if a.stats.PresenceErrors.Load() == 0 {
				t.Error("the error is not counted")
			}
			delete(a.views, "bad")
			w.client.Del(t.Context(), key)
			w.pass(time.Minute)
			w.want("bad", "1", "3")
			w.want("chat", "1", "4")
		})
	}
}

// The clients of a large channel are told how many members there are part by
// part, and each only once unless there is another number.
func TestCountsInParts(t *testing.T) {
	w := newWorld(t, 1)
	var parts []int
	counts := map[int]int{} // how many parts were told, by number
	a := w.start("a", Config{MaxMembers: 3})
	a.cfg.Notify = func(_ string, u roster.Update) {
		if u.Large() {
			parts = append(parts, u.Part)
			counts[u.Count]++
		}
	}
	a.watch("chat")
	w.pass(time.Second)
	for i := range 5 {
		a.open("chat", strconv.Itoa(i))
	}
	w.pass(10 * time.Second)
	a.open("chat", "another")
	w.pass(10 * time.Second)
	want := make([]int, 0, 2*roster.Parts)
	for i := range 2 * roster.Parts {
		want = append(want, i%roster.Parts+1)
	}
	if !slices.Equal(parts, want) || counts[5] != roster.Parts || counts[6] != roster.Parts {
		t.Errorf("these parts were told: %v, counts %v", parts, counts)
	}
}

// If many users arrive at once, a pass writes some of them, and the next one
// follows at once: a refresh must not wait for all.
func TestPassIsBounded(t *testing.T) {
	w := newWorld(t, 1)
	a := w.start("a", Config{})
	w.step(0)
	for i := range maxHolds + 100 {
		a.open("chat", strconv.Itoa(i))
	}
	for _, want := range []int{maxHolds, maxHolds + 100} {
		if a.next > w.now {
			t.Fatalf("the next pass is in %v", a.next-w.now)
		}
		w.step(0)
		if n := len(w.members("chat")); n != want {
			t.Errorf("there are %d members, want %d", n, want)
		}
	}
}

// Arrivals that have to wait, because other relays write their members again,
// are tried about once a second, however many they are.
func TestArrivalsWait(t *testing.T) {
	w := newWorld(t, 1)
	w.start("a", Config{})
	w.pass(time.Minute)
	w.wipe()
	w.pass(15 * time.Second)
	b := w.start("b", Config{})
	for i := range maxHolds + 100 {
		b.open("chat", strconv.Itoa(i))
	}
	passes := 0
	for range 16 {
		for w.step(250 * time.Millisecond); b.next <= w.now && passes < 100; passes++ {
			w.run(b)
		}
	}
	if n := len(w.members("chat")); n != 0 || passes > 10 {
		t.Errorf("%d users have arrived, after %d more passes than steps", n, passes)
	}
	w.pass(4 * time.Second)
	if n := len(w.members("chat")); n != maxHolds+100 {
		t.Errorf("%d users have arrived, want %d", n, maxHolds+100)
	}
}
