package why_test

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/protocol"
	"sidecast/relay/why"
)

// A tale is what a test lets happen in a relay, one second after the other.
type tale struct {
	box  *blackbox.Box
	seq  uint64
	name blackbox.Name
}

func newTale(t *testing.T, bytes int, path string) *tale {
	t.Helper()
	box, err := blackbox.Open(bytes, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	box.Link(true, 0)
	time.Sleep(10 * time.Second)
	return &tale{box: box}
}

// begin begins a session of a user.
func (s *tale) begin(user string) uint32 {
	return s.box.Begin(blackbox.Client{ID: blackbox.SessionID{byte(s.seq), 1}, User: user})
}

// message lets a message arrive on a live channel.
func (s *tale) message(heard int) {
	s.seq++
	s.box.Message(&s.name, []byte("chat"), blackbox.Message{Seq: s.seq, At: blackbox.Place{Major: 1, Minor: s.seq}, Size: 10, Heard: heard})
}

// entry lets an entry of a stream arrive.
func (s *tale) entry(ms uint64) {
	s.seq++
	s.box.Entry(&s.name, "chat", blackbox.Message{Seq: s.seq, At: blackbox.Place{Major: ms}, Size: 10})
}

// replay sends entries from one to another of which some exist.
func (s *tale) replay(session uint32, from, to uint64, existing ...uint64) {
	r := blackbox.Replay{From: blackbox.Place{Major: from}, To: blackbox.Place{Major: to}, Frames: len(existing)}
	for _, ms := range existing {
		r.Check += blackbox.Place{Major: ms}.Hash()
	}
	s.box.Replay(session, "chat", true, r)
}

func (s *tale) refuse(session uint32, command string) {
	s.box.Refused(blackbox.Refusal{Session: session, Channel: "chat", Code: uint32(protocol.CodeForbidden), Reason: command})
}

func second() { time.Sleep(time.Second) }

// around is a question about two seconds around now.
func around(user string) why.Question {
	return why.Question{Channel: "chat", From: time.Now().Add(-time.Second), To: time.Now().Add(time.Second), User: user}
}

// Sequences of events of which a part is easily taken for something else.
func TestWhatIsSaid(t *testing.T) {
	for _, tt := range []struct {
		comment   string
		happens   func(*tale) why.Question
		want      why.Result // of the first line
		says, not string     // in its texts
	}{
		{"caught up with entries of which most are older than the question", func(s *tale) why.Question {
			session := s.begin("ann")
			for ms := range uint64(5) {
				s.entry(ms + 1)
				second()
			}
			q := around("ann")
			second()
			s.box.Await(session, &s.name, "chat", true)
			s.replay(session, 1, 5, 1, 2, 3, 4, 5)
			s.box.Join(session, &s.name, "chat", true, s.seq)
			return q
		}, why.Sent, "caught up", ""},
		{"an older entry had been deleted when it caught up", func(s *tale) why.Question {
			session := s.begin("ann")
			for ms := range uint64(5) {
				s.entry(ms + 1)
				second()
			}
			s.replay(session, 1, 5, 1, 3, 4, 5)
			return around("ann")
		}, why.Unconfirmed, "perhaps", ""},
		{"a publish was refused, but the client had not subscribed", func(s *tale) why.Question {
			session := s.begin("ann")
			s.refuse(session, "publish")
			second()
			s.message(0)
			return around("ann")
		}, why.NotThere, "not subscribed", "refused"},
		{"an unsubscribe without a subscription", func(s *tale) why.Question {
			session := s.begin("ann")
			s.refuse(session, "unsubscribe")
			s.message(0)
			return around("ann")
		}, why.NotThere, "not subscribed", "refused"},
		{"a subscribe was refused", func(s *tale) why.Question {
			session := s.begin("ann")
			s.refuse(session, "subscribe")
			s.message(0)
			return around("ann")
		}, why.Refused, "refused", ""},
		{"the subscription was ended, and the next subscribe refused", func(s *tale) why.Question {
			session := s.begin("ann")
			s.box.Join(session, &s.name, "chat", false, 0)
			s.box.Leave(session, &s.name, "chat", false, 0)
			s.refuse(session, "subscribe")
			second()
			s.message(0)
			return around("ann")
		}, why.Refused, "refused", "unsubscribed"},
		{"a client without a session could not publish", func(s *tale) why.Question {
			s.refuse(0, "publish")
			s.message(0)
			return around("")
		}, why.NoListener, "", "refused"},
		{"subscribed after the message on a durable channel, and left before the next one", func(s *tale) why.Question {
			session := s.begin("ann")
			s.entry(1)
			q := around("ann")
			second()
			s.box.Join(session, &s.name, "chat", true, s.seq)
			second()
			s.box.Leave(session, &s.name, "chat", true, 0)
			return q
		}, why.Late, "subscribed later", "unsubscribed"},
		{"caught up with fewer messages", func(s *tale) why.Question {
			session := s.begin("ann")
			s.entry(1)
			q := around("ann")
			second()
			s.entry(2)
			s.replay(session, 2, 2, 2)
			s.box.Join(session, &s.name, "chat", true, s.seq)
			return q
		}, why.Late, "later messages only", "did not ask"},
		{"the session had another user before", func(s *tale) why.Question {
			session := s.begin("ann")
			s.box.Join(session, &s.name, "chat", false, 0)
			s.message(1)
			q := around("ann")
			second()
			s.box.Is(session, blackbox.Client{User: "bob"})
			return q
		}, why.Sent, "at once", "no connection"},
		{"the end of a session that began before the records", func(s *tale) why.Question {
			s.message(1)
			q := around("")
			q.Session = "AAAAAAAAAAAAAAAAAAAA"
			second()
			s.box.End(77, blackbox.End{Code: 1001, Lost: s.seq + 1})
			return q
		}, why.Forgotten, "before the records", "not subscribed"},
		{"a message was dropped because of its name", func(s *tale) why.Question {
			s.box.Dropped([]byte("chat"), "reserved")
			return around("")
		}, why.NoMessage, "reserved", "Nothing arrived"},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTale(t, blackbox.MinBytes, "")
				q := tt.happens(s)
				check(t, why.Ask(s.box.NewReader(time.Time{}), q), tt.want, tt.says, tt.not)
			})
		})
	}
}

// check checks the first line, and that no line contains not.
func check(t *testing.T, lines []why.Line, want why.Result, says, not string) {
	t.Helper()
	if len(lines) == 0 || lines[0].Result != want || !strings.Contains(lines[0].Text, says) {
		t.Errorf("want %s, %q, got %+v", want, says, lines)
	}
	for _, line := range lines {
		if not != "" && strings.Contains(line.Text, not) {
			t.Errorf("%q is said", line.Text)
		}
	}
}

// A file has the records of several starts of a relay.
func TestStarts(t *testing.T) {
	for _, tt := range []struct {
		comment string
		happens func(start func() *tale) why.Question
		want    why.Result
		not     string
	}{
		{"the relay was stopped without a link, and has one now", func(start func() *tale) why.Question {
			start().box.Link(false, 1)
			second()
			s := start()
			time.Sleep(time.Hour)
			session := s.begin("ann")
			s.box.Join(session, &s.name, "chat", false, 0)
			s.message(1)
			q := around("")
			time.Sleep(10 * time.Second)
			s.message(1)
			return q
		}, why.Sent, "no link"},
		{"a message waited behind those of a durable channel when the relay was killed", func(start func() *tale) why.Question {
			s := start()
			session := s.begin("ann")
			s.box.Join(session, &s.name, "chat", false, 0)
			s.box.Behind(session, 0, 5, 1000)
			s.message(1)
			q := around("")
			time.Sleep(10 * time.Second)
			s.message(0)
			return q
		}, why.Unconfirmed, ""},
		{"the question is about the time between two starts", func(start func() *tale) why.Question {
			start().message(1)
			time.Sleep(10 * time.Second)
			q := around("")
			time.Sleep(10 * time.Second)
			start().message(1)
			return q
		}, why.NoLink, "Nothing arrived"},
		{"the question is about the time after the last record of a relay that was killed", func(start func() *tale) why.Question {
			start().message(1)
			time.Sleep(10 * time.Second)
			return around("")
		}, why.NoLink, "Nothing arrived"},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "box")
			synctest.Test(t, func(t *testing.T) {
				var s *tale
				q := tt.happens(func() *tale {
					if s != nil {
						_ = s.box.Close()
					}
					s = newTale(t, blackbox.MinBytes, path)
					return s
				})
				_ = s.box.Close()
				reader, err := blackbox.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				check(t, why.Ask(reader, q), tt.want, "", tt.not)
			})
		})
	}
}

// If records are overwritten while they are read, what was read before them says
// nothing about the time after them.
func TestOverwrittenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTale(t, blackbox.MinBytes, "")
		session := s.begin("ann")
		s.box.Join(session, &s.name, "chat", false, 0)
		reader := s.box.NewReader(time.Time{})
		reader.Next()
		s.box.CaughtUp(session)
		for range 100_000 {
			s.box.CaughtUp(1000)
		}
		s.box.Leave(session, &s.name, "chat", false, s.seq)
		for range 1_000_000 {
			s.box.CaughtUp(1000)
		}
		second()
		s.message(0)
		for _, line := range why.Ask(reader, around("ann")) {
			if line.Result == why.Sent {
				t.Errorf("%+v", line)
			}
		}
	})
}
