package auth

import (
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// A staleApp is a stubbed application, whose answers can be made stale.
type staleApp struct {
	*Application
	requests atomic.Int64
	stale    atomic.Int64 // answers asked for at or before this unix time in nanoseconds
}

func newStaleApp(t *testing.T, takes time.Duration) *staleApp {
	s := new(staleApp)
	s.Application = newStubApp(t, func(r *http.Request) (int, string) {
		s.requests.Add(1)
		sleep(takes)
		if strings.HasSuffix(r.URL.Path, "channel") {
			return 204, ""
		}
		return 200, `{"user":"42"}`
	}, func(c *ApplicationConfig) {
		c.Stale = func(user string, asked time.Time) bool { return user == "42" && asked.UnixNano() <= s.stale.Load() }
	})
	return s
}

func (s *staleApp) login(t *testing.T) *access.Identity {
	id, code := s.Login(t.Context(), request("Cookie", "a=1"))
	if code != protocol.CodeOK || id == nil {
		t.Errorf("the login is %v, %v", id, code)
	}
	return id
}

// A cached answer is not used after it has become stale: the application is
// asked again, once.
func TestStaleAnswerIsAMiss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaleApp(t, 0)
		channel := s.ChannelAuthorizer(request("Cookie", "a=1"), &access.Identity{User: "42"})
		both := func() { s.login(t); _, _ = channel(t.Context(), "42", "order:7") }
		for _, step := range []struct {
			why   string
			stale time.Time
			want  int64
		}{
			{"the first time", time.Time{}, 2},
			{"it is cached", time.Time{}, 2},
			{"the cached one is stale", time.Now().Add(time.Second), 4},
			{"the new one is cached", time.Time{}, 4},
			// By a clock that is ahead, each answer is stale: the second one is
			// used, and rejected elsewhere.
			{"it is stale in the future", time.Now().Add(time.Hour), 8},
		} {
			sleep(time.Second)
			if !step.stale.IsZero() {
				s.stale.Store(step.stale.UnixNano())
				sleep(time.Second)
			}
			if both(); s.requests.Load() != step.want {
				t.Errorf("%s: %d requests, want %d", step.why, s.requests.Load(), step.want)
			}
		}
	})
}

// An answer that is under way when it becomes stale is not used either.
func TestStaleAnswerUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStaleApp(t, time.Second)
		var revoked time.Time
		go func() {
			sleep(500 * time.Millisecond)
			revoked = time.Now()
			s.stale.Store(revoked.UnixNano())
		}()
		if id := s.login(t); !id.Established.After(revoked) || s.requests.Load() != 2 {
			t.Errorf("a login of %v after a revocation at %v, %d requests", id.Established, revoked, s.requests.Load())
		}
	})
}

// A token that is valid for longer than revocations are known is reported, once
// an hour.
func TestLongTokens(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		why           string
		age           time.Duration // of revocations; 0: for ever
		issued, until time.Duration // from now; 0: not in the token
		warned        bool
	}{
		{"a short life", time.Hour, -time.Second, 59 * time.Minute, false},
		{"a long life", time.Hour, -time.Second, time.Hour, true},
		{"a long life that has nearly ended", time.Hour, -2 * time.Hour, time.Minute, true},
		{"a long life from now on", time.Hour, 0, 2 * time.Hour, true},
		{"the rest of a life of unknown length", time.Hour, 0, time.Minute, false},
		{"revocations are known for ever", 0, 0, 1000 * time.Hour, false},
	} {
		claims := validClaims(with("exp", now.Add(test.until).Unix()))
		if test.issued != 0 {
			claims["iat"] = now.Add(test.issued).Unix()
		}
		log := new(syncBuffer)
		tokens := NewTokens(TokensConfig{Keys: newTokens(t, SecretKeys(secret)).keys, Logger: slog.New(slog.NewTextHandler(log, nil)), RevokedAge: test.age})
		for range 3 {
			if _, code := tokens.Verify(t.Context(), signHMAC(t, claims)); code != protocol.CodeOK {
				t.Errorf("%s: %v", test.why, code)
			}
		}
		want := 0
		if test.warned {
			want = 1
		}
		if got := strings.Count(log.String(), "SIDECAST_REVOKED_AGE"); got != want {
			t.Errorf("%s: %d warnings, want %d: %s", test.why, got, want, log)
		}
	}
}

// TestClockAhead checks what the header Date says about the application's clock.
func TestClockAhead(t *testing.T) {
	asked := time.Date(2026, 1, 2, 3, 4, 5, 6e8, time.UTC)
	answered := asked.Add(100 * time.Millisecond)
	for _, test := range []struct {
		why, date string
		want      time.Duration
	}{
		{"the same second", "Fri, 02 Jan 2026 03:04:05 GMT", 0},
		{"the one before", "Fri, 02 Jan 2026 03:04:04 GMT", -600 * time.Millisecond},
		{"a minute ahead", "Fri, 02 Jan 2026 03:05:05 GMT", 59*time.Second + 300*time.Millisecond},
		{"a minute behind", "Fri, 02 Jan 2026 03:03:05 GMT", -59*time.Second - 600*time.Millisecond},
		{"no header", "", 0},
		{"no date", "today", 0},
	} {
		if got := clockAhead(test.date, asked, answered); got != test.want {
			t.Errorf("%s: %v, want %v", test.why, got, test.want)
		}
	}
}
