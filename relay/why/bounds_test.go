package why_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/why"
)

// However much is in the records, and however many pairs of messages and
// sessions, an answer has a bound in memory and in time.
func TestAnswerIsBounded(t *testing.T) {
	for _, tt := range []struct {
		comment string
		happens func(*tale) why.Question
		want    why.Result // of the last line
	}{
		{"clients who connect and disconnect", func(s *tale) why.Question {
			for range 400_000 {
				s.box.End(s.begin(""), blackbox.End{Code: 1001, Lost: 1})
			}
			return around("")
		}, why.NoMessage},
		{"a user who connects and disconnects, and subscribes, an hour later", func(s *tale) why.Question {
			s.message(0)
			q := around("ann")
			time.Sleep(time.Hour)
			for range 200_000 {
				session := s.begin("ann")
				s.box.Join(session, &s.name, "chat", false, s.seq)
				s.box.End(session, blackbox.End{Code: 1001, Lost: 2})
			}
			return q
		}, why.NotThere},
		{"a busy channel with many listeners", func(s *tale) why.Question {
			for range 5000 {
				s.box.Join(s.begin(""), &s.name, "chat", false, 0)
			}
			for range 2000 {
				s.message(5000)
			}
			return around("")
		}, why.Unlisted},
		{"more pairs than anyone can look at", func(s *tale) why.Question {
			for range 20_000 {
				s.box.Join(s.begin(""), &s.name, "chat", false, 0)
			}
			for range 500_000 {
				s.message(20_000)
			}
			return around("")
		}, why.Unlisted},
		{"many messages after the question, and sessions that broke long before them", func(s *tale) why.Question {
			var sessions []uint32
			for range 1000 {
				session := s.begin("")
				s.box.Join(session, &s.name, "chat", false, 0)
				sessions = append(sessions, session)
			}
			for range 1000 {
				s.message(1000)
			}
			q := around("")
			for _, session := range sessions {
				s.box.End(session, blackbox.End{Code: 1006, Lost: 1001, Unacknowledged: 100})
			}
			time.Sleep(time.Hour)
			for range 1_000_000 {
				s.message(0)
			}
			return q
		}, why.Unlisted},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTale(t, 32<<20, "")
				q := tt.happens(s)
				before := heap()
				c := why.NewCase(s.box.NewReader(time.Time{}), q)
				held := (heap() - before) >> 20
				var all runtime.MemStats
				runtime.ReadMemStats(&all)
				from := all.TotalAlloc
				lines := why.Ask(s.box.NewReader(time.Time{}), q)
				runtime.ReadMemStats(&all)
				allocated := (all.TotalAlloc - from) >> 20
				t.Logf("%d MiB held, %d MiB allocated, %d lines", held, allocated, len(lines))
				if held > 64 || allocated > 1024 {
					t.Errorf("%d MiB held, %d MiB allocated", held, allocated)
				}
				if last := lines[len(lines)-1].Result; last != tt.want {
					t.Errorf("the last of %d lines is %s", len(lines), last)
				}
				runtime.KeepAlive(c)
			})
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
