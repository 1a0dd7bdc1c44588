package blackbox_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/blackbox"
)

// A script writes random records to a box, and knows what a reader must return.
type script struct {
	box    *blackbox.Box
	random *rand.Rand
	names  [20]blackbox.Name
	minors [20]uint64
	seq    uint64
	stream uint64
	major  uint64
	want   []blackbox.Record
}

func newScript(box *blackbox.Box, seed uint64) *script {
	return &script{box: box, random: rand.New(rand.NewPCG(seed, 0)), major: 1}
}

func channelName(i int) string { return fmt.Sprintf("chat:%d:%s", i, strings.Repeat("x", 3*i)) }

// step writes a record.
func (s *script) step() {
	i, session := s.random.IntN(len(s.names)), s.random.Uint32N(1000)+1
	name, channel, durable := &s.names[i], channelName(i), s.random.IntN(2) == 0
	r := blackbox.Record{Session: session, Channel: channel, Durable: durable, Seq: s.random.Uint64N(1 << 40)}
	switch kind := s.random.IntN(17); kind {
	case 0, 1, 2, 3:
		s.message(i)
		return
	case 4:
		s.stream += 1 + s.random.Uint64N(3)
		r = blackbox.Record{Kind: blackbox.KindMessage, Channel: channel, Durable: true, Seq: s.stream, To: blackbox.Place{Major: 1234567890123, Minor: 7}, Size: 100, Heard: 1}
		s.box.Entry(name, channel, blackbox.Message{Seq: r.Seq, At: r.To, Size: r.Size, Heard: r.Heard})
	case 5:
		r.Kind = blackbox.KindJoin
		s.box.Join(session, name, channel, durable, r.Seq)
	case 6:
		r.Kind = blackbox.KindLeave
		s.box.Leave(session, name, channel, durable, r.Seq)
	case 7:
		r.Kind = blackbox.KindOwn
		r.To = blackbox.Place{Major: 1, Minor: 2}
		s.box.Own(session, channel, durable, r.Seq, r.To)
	case 8:
		p := blackbox.Replay{From: blackbox.Place{Major: 3, Minor: 4}, To: blackbox.Place{Major: 5, Minor: 1 << 40}, Frames: 7, Joined: durable, Check: 9}
		r.Kind, r.Seq, r.From, r.To, r.Frames, r.Joined, r.Check = blackbox.KindReplay, 0, p.From, p.To, p.Frames, p.Joined, p.Check
		s.box.Replay(session, channel, durable, p)
	case 9:
		r = blackbox.Record{Kind: blackbox.KindEnd, Session: session, Code: 4408, Seq: 12, StreamSeq: 13, LostReplays: 14, Unacknowledged: 4096, Evicted: true}
		s.box.End(session, blackbox.End{Code: 4408, Lost: 12, LostStream: 13, LostReplays: 14, Unacknowledged: 4096, Evicted: true})
	case 10:
		r.Kind, r.Reason = blackbox.KindGap, "history"
		s.box.Gap(blackbox.Gap{Session: session, Channel: channel, Durable: durable, Seq: r.Seq, Reason: "history"})
	case 11:
		c := blackbox.Client{ID: blackbox.SessionID{1, 2, 3, byte(i)}, User: fmt.Sprint("user-", i), Protocol: 1, Transport: 2}
		r = blackbox.Record{Kind: blackbox.KindBegin, ID: c.ID, User: c.User, Protocol: 1, Transport: 2, Session: s.box.Begin(c)}
	case 12:
		r = blackbox.Record{Kind: blackbox.KindBehind, Session: session, Seq: 5, StreamSeq: 0, Size: 1 << 20}
		s.box.Behind(session, 5, 0, 1<<20)
	case 13:
		r = blackbox.Record{Kind: blackbox.KindNudge, Channel: channel, Durable: true, Empty: true}
		s.box.Nudge([]byte(channel), true)
	case 14:
		r = blackbox.Record{Kind: blackbox.KindLinkDown, Seq: s.seq}
		s.box.Link(false, s.seq)
	case 15:
		r = blackbox.Record{Kind: blackbox.KindClose, Session: session, Code: 4401, Seq: 3, StreamSeq: 9}
		s.box.Closing(session, 4401, 3, 9)
	case 16:
		r = blackbox.Record{Kind: blackbox.KindSwapped, Seq: 7, StreamSeq: 19}
		s.box.Swapped(7, 19)
	}
	s.want = append(s.want, r)
}

// message writes a message on a live channel. Sometimes a marker comes first.
func (s *script) message(i int) {
	if s.random.IntN(50) == 0 {
		s.major++
		s.minors = [20]uint64{}
	}
	s.minors[i]++
	s.seq++
	if s.random.IntN(20) == 0 {
		s.seq += 5
	}
	m := blackbox.Message{Seq: s.seq, At: blackbox.Place{Major: s.major, Minor: s.minors[i]}, Size: s.random.IntN(1 << 20), Heard: s.random.IntN(1 << 20), TooLarge: s.random.IntN(10) == 0}
	name, channel := &s.names[i], channelName(i)
	if s.random.IntN(10) == 0 {
		name, channel = nil, "nobody"
		s.minors[i]--
	}
	s.box.Message(name, []byte(channel), m)
	s.want = append(s.want, blackbox.Record{Kind: blackbox.KindMessage, Channel: channel, Seq: m.Seq, To: m.At, Size: m.Size, Heard: m.Heard, TooLarge: m.TooLarge})
}

func open(t testing.TB, bytes int, path string) *blackbox.Box {
	t.Helper()
	box, err := blackbox.Open(bytes, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	return box
}

// same fails the test if a record is not the one that was written.
func same(t *testing.T, got, want blackbox.Record) {
	t.Helper()
	if since := time.Since(got.At); since < -time.Minute || since > time.Minute {
		t.Fatalf("a record of %v", got.At)
	}
	got.At, got.Boot = time.Time{}, 0
	if got != want {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

// Every record is read as it was written, by a reader that follows, and by one
// that begins when the ring was overwritten several times: it misses the oldest
// ones only.
func TestRecordsAreReadAsWritten(t *testing.T) {
	box := open(t, blackbox.MinBytes, "")
	s := newScript(box, 1)
	follower, read := box.NewReader(time.Time{}), 0
	for range 200 {
		for range 1000 {
			s.step()
		}
		for r, ok := follower.Next(); ok; r, ok = follower.Next() {
			same(t, r, s.want[read])
			read++
		}
	}
	if read != len(s.want) || follower.Missed() {
		t.Fatalf("%d of %d records, missed: %v", read, len(s.want), follower.Missed())
	}
	all := readAll(box.NewReader(time.Time{}))
	if len(all) < 20_000 || len(all) > len(s.want)/2 {
		t.Fatalf("%d records left of %d", len(all), len(s.want))
	}
	for i, r := range all {
		same(t, r, s.want[len(s.want)-len(all)+i])
	}
}

func readAll(r *blackbox.Reader) (all []blackbox.Record) {
	for record, ok := r.Next(); ok; record, ok = r.Next() {
		all = append(all, record)
	}
	return all
}

// The records of refused clients do not overwrite others, and take an eighth of
// the ring.
func TestRefusalsHaveTheirShare(t *testing.T) {
	box := open(t, blackbox.MinBytes, "")
	box.Message(nil, []byte("chat"), blackbox.Message{Seq: 1, Size: 5})
	for range 100_000 {
		box.Refused(blackbox.Refusal{User: "eve", Channel: strings.Repeat("x", 200), Code: 1, Reason: "forbidden"})
	}
	all := readAll(box.NewReader(time.Time{}))
	if all[0].Kind != blackbox.KindMessage || len(all) > blackbox.MinBytes/8/200 {
		t.Fatalf("%+v is the first of %d", all[0], len(all))
	}
}

// A file has the records of all starts, and can be read while it is written and
// when its writer has not closed it.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "box")
	var want []blackbox.Record
	for start := range 3 {
		box := open(t, blackbox.MinBytes, path)
		s := newScript(box, uint64(start))
		for range 1000 {
			s.step()
		}
		want = append(want, s.want...)
		reader, err := blackbox.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all := readAll(reader)
		if len(all) != len(want) || all[len(all)-1].Boot != uint32(start)+1 {
			t.Fatalf("%d records in place of %d, the last of start %d", len(all), len(want), all[len(all)-1].Boot)
		}
		for i, r := range all {
			same(t, r, want[i])
		}
		if err := box.Close(); err != nil {
			t.Fatal(err)
		}
		for range 100_000 {
			box.CaughtUp(1) // is lost
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
}

// Files that cannot be the black box of this relay are errors that say what to
// do, and are not changed.
func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	used := filepath.Join(dir, "used")
	open(t, blackbox.MinBytes, used)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(used, link); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	_ = open(t, 2*blackbox.MinBytes, other).Close()
	for name, c := range map[string]struct{ path, problem string }{
		"another relay writes it":    {used, "another process uses it"},
		"something else":             {write("text", []byte("a letter"), 0o600), "has 8 bytes"},
		"something else of its size": {write("zeros", make([]byte, blackbox.MinBytes+4096), 0o600), "not made by this version"},
		"another size":               {other, "remove it, or set the size"},
		"others may read it":         {write("open", nil, 0o644), "mode 0644"},
		"a directory":                {dir, "is a directory"},
		"a link":                     {link, "too many levels of symbolic links"},
		"no such directory":          {filepath.Join(dir, "none", "box"), "no such file"},
	} {
		if _, err := blackbox.Open(blackbox.MinBytes, c.path); err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %v does not say %q", name, err, c.problem)
		}
	}
	if content, _ := os.ReadFile(filepath.Join(dir, "text")); string(content) != "a letter" {
		t.Error("the file was changed")
	}
}

// Nothing is recorded by a box that does not exist.
func TestNoBox(t *testing.T) {
	var box *blackbox.Box
	newScript(box, 1).step()
	if _, ok := box.NewReader(time.Time{}).Next(); ok || box.Census() || box.Close() != nil {
		t.Error("something came of nothing")
	}
}

// A census is due once for each half of the ring.
func TestCensus(t *testing.T) {
	box := open(t, blackbox.MinBytes, "")
	s, due := newScript(box, 1), 0
	for range 100_000 {
		s.step()
		if box.Census() {
			due++
			for i := range 1000 {
				box.Is(uint32(i), blackbox.Client{User: "u"})
				box.On(uint32(i), &s.names[0], channelName(0), false, 1)
			}
		}
	}
	if bytes := 100_000 * 20; due < bytes/blackbox.MinBytes || due > 4*bytes/blackbox.MinBytes {
		t.Errorf("%d times", due)
	}
}

// Recording allocates nothing.
func TestNoAllocations(t *testing.T) {
	box := open(t, blackbox.MinBytes, "")
	s := newScript(box, 1)
	s.want = make([]blackbox.Record, 0, 1<<20)
	channel := []byte(channelName(3))
	if n := testing.AllocsPerRun(10_000, func() {
		s.seq++
		box.Message(&s.names[3], channel, blackbox.Message{Seq: s.seq, Size: 10})
		box.Message(nil, channel, blackbox.Message{Seq: s.seq, Size: 10})
		box.Join(7, &s.names[3], "chat", false, 12)
		box.End(7, blackbox.End{})
		box.Refused(blackbox.Refusal{User: "u", Channel: "c"})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever is in a file, reading it ends, with an error or with records.
func FuzzReadFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "box")
	box := open(f, blackbox.MinBytes, path)
	s := newScript(box, 1)
	for range 3000 {
		s.step()
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(4096+16, []byte{0xff})
	f.Add(4096+12, []byte{0xff, 0xff, 0xff, 0xff})
	f.Add(20, []byte{1})
	f.Fuzz(func(t *testing.T, at int, garbage []byte) {
		content := append([]byte(nil), whole...)
		if at >= 0 && at < len(content) {
			copy(content[at:], garbage)
		}
		path := filepath.Join(t.TempDir(), "box")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if reader, err := blackbox.ReadFile(path); err == nil {
			readAll(reader)
		}
	})
}

func BenchmarkMessage(b *testing.B) {
	box := open(b, 16<<20, "")
	channel, name, seq := []byte("chat:lobby"), blackbox.Name(0), uint64(0)
	for b.Loop() {
		seq++
		box.Message(&name, channel, blackbox.Message{Seq: seq, At: blackbox.Place{Major: 1, Minor: seq}, Size: 100, Heard: 1000})
	}
}

// 16 MiB remember ten minutes of 1,000 messages a second, and of 10,000 clients
// that stay for a minute on three of a thousand channels.
func TestTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTraffic(t, 16<<20)
		for range 20 * 60 * 1000 {
			w.millisecond()
			time.Sleep(time.Millisecond)
		}
		first, _ := w.box.NewReader(time.Time{}).Next()
		age := time.Since(first.At)
		t.Logf("the oldest record is from %v ago, %d times all sessions were recorded", age, w.censuses)
		if age < 10*time.Minute {
			t.Errorf("it remembers %v", age)
		}
	})
}

// Traffic writes what a relay with many clients does.
type traffic struct {
	box      *blackbox.Box
	random   *rand.Rand
	names    [1000]blackbox.Name
	channels [1000]string
	sessions []trafficSession // in the order in which they began
	seq      uint64
	censuses int
}

type trafficSession struct {
	number uint32
	client blackbox.Client
	on     [3]int
}

func newTraffic(t testing.TB, bytes int) *traffic {
	w := &traffic{box: open(t, bytes, ""), random: rand.New(rand.NewPCG(1, 2))}
	for i := range w.channels {
		w.channels[i] = fmt.Sprint("order:", 100_000+i)
	}
	for range 10_000 {
		w.begin()
	}
	return w
}

func (w *traffic) begin() {
	s := trafficSession{client: blackbox.Client{User: fmt.Sprint(1_000_000 + w.random.IntN(100_000)), Protocol: 1}}
	for i := range s.client.ID {
		s.client.ID[i] = byte(w.random.Uint32())
	}
	s.number = w.box.Begin(s.client)
	for i := range s.on {
		s.on[i] = w.random.IntN(len(w.channels))
		w.box.Join(s.number, &w.names[s.on[i]], w.channels[s.on[i]], false, w.seq)
	}
	w.sessions = append(w.sessions, s)
}

// millisecond is one message, and a sixth of a session that ends and of one that
// begins. Censuses are done at once.
func (w *traffic) millisecond() {
	w.seq++
	i := w.random.IntN(len(w.channels))
	w.box.Message(&w.names[i], []byte(w.channels[i]), blackbox.Message{Seq: w.seq, At: blackbox.Place{Major: 1 + w.seq/1000, Minor: w.seq % 1000}, Size: 300, Heard: 30})
	if w.random.IntN(6) == 0 {
		w.box.End(w.sessions[0].number, blackbox.End{Code: 1001, Lost: w.seq + 1})
		w.sessions = w.sessions[1:]
		w.begin()
	}
	if !w.box.Census() {
		return
	}
	w.censuses++
	for _, s := range w.sessions {
		w.box.Is(s.number, s.client)
		for _, i := range s.on {
			w.box.On(s.number, &w.names[i], w.channels[i], false, 1)
		}
	}
}
