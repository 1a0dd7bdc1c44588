package auth

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// TestCache checks that a grant is cached for 10 s, a denial for 1 s and an
// error not at all, and that no client gets the cached answer for other
// credentials.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 200
		requests := 0
		a := newStubApp(t, func(*http.Request) (int, string) {
			requests++
			return status, `{"user":"1"}`
		})
		login := func(headers ...string) { a.Login(t.Context(), request(headers...)) }
		want := func(n int, comment string) {
			t.Helper()
			if requests != n {
				t.Errorf("%s: %d requests, want %d", comment, requests, n)
			}
			requests = 0
		}
		login("Cookie", "s=1")
		login("Cookie", "s=1", "User-Agent", "other")
		want(1, "the same credentials")
		login("Cookie", "s=2")
		login("Cookie", "s=", "Cookie", "1")
		login("Authorization", "s=1")
		login("Cookie", "s=1", "Authorization", "x")
		login("Cookie", "s=1", "Origin", "https://x")
		want(5, "different credentials")
		sleep(9900 * time.Millisecond)
		login("Cookie", "s=1")
		want(0, "just before ten seconds")
		sleep(200 * time.Millisecond)
		login("Cookie", "s=1")
		want(1, "after ten seconds")
		for status = range map[int]bool{401: true, 403: true, 302: true} {
			cookie := "s=" + strconv.Itoa(status)
			login("Cookie", cookie)
			sleep(900 * time.Millisecond)
			login("Cookie", cookie)
			want(1, "a denial, within a second")
			sleep(200 * time.Millisecond)
			login("Cookie", cookie)
			want(1, "a denial, after a second")
		}
		status = 500
		login("Cookie", "s=5")
		login("Cookie", "s=5")
		want(2, "an error")
	})
}

// TestSharedCredential checks that 1,000 clients with the same credentials
// cause one request, and that a client that gives up does not cancel it for the
// others.
func TestSharedCredential(t *testing.T) {
	release := make(chan struct{})
	a := newTestApp(t, func(w http.ResponseWriter, _ *http.Request) { <-release; fmt.Fprint(w, `{"user":"1"}`) })
	ended, end := context.WithCancel(t.Context())
	end()
	if _, code := a.Login(ended, request("Cookie", "s=1")); code != protocol.CodeUnavailable {
		t.Errorf("a client that gave up: %v", code)
	}
	var all sync.WaitGroup
	var started, logins atomic.Int64
	for range 1000 {
		all.Go(func() {
			if started.Add(1) == 1000 {
				close(release)
			}
			if id, code := a.Login(t.Context(), request("Cookie", "s=1")); code == protocol.CodeOK && id != nil {
				logins.Add(1)
			}
		})
	}
	all.Wait()
	if a.requests.Load() != 1 || logins.Load() != 1000 {
		t.Errorf("%d requests, %d of 1000 logins granted", a.requests.Load(), logins.Load())
	}
}

// TestDeadApplication checks that the relay gives up after the timeout if the
// application does not answer, that the queue is bounded, and that clients are
// neither let in nor rejected as forbidden.
func TestDeadApplication(t *testing.T) {
	stop := make(chan struct{})
	hang := func(http.ResponseWriter, *http.Request) { <-stop }
	a := newTestApp(t, hang, func(c *ApplicationConfig) { c.Timeout = 200 * time.Millisecond })
	t.Cleanup(func() { close(stop) })
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			id, code := a.Login(t.Context(), from(publicPeer(i), "Cookie", "s="+strconv.Itoa(i)))
			if id != nil || code != protocol.CodeUnavailable {
				t.Errorf("%v, %v", id, code)
			}
		})
	}
	all.Wait()
	if busy := a.stats.AuthRequests[stats.AuthBusy].Load(); busy == 0 || busy > 1000-32-256 {
		t.Errorf("%d of 1000 logins were rejected because the queue was full", busy)
	}
	if timeouts := a.stats.AuthRequests[stats.AuthTimeout].Load(); timeouts < 32+256 {
		t.Errorf("%d timeouts", timeouts)
	}
	if strings.Contains(a.log.String(), a.server.URL) || strings.Contains(a.log.String(), "s=") {
		t.Errorf("logged: %s", a.log)
	}
	closed := newTestApp(t, nil)
	closed.server.Close()
	if id, code := closed.Login(t.Context(), request("Cookie", "s=1")); id != nil || code != protocol.CodeUnavailable {
		t.Errorf("a closed port: %v, %v", id, code)
	}
}

// TestTricklingApplication checks that the timeout applies to the whole answer,
// even if the application sends a byte now and then.
func TestTricklingApplication(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
		for range time.Tick(20 * time.Millisecond) {
			if _, err := conn.Write([]byte(" ")); err != nil {
				return
			}
		}
	}()
	a := newTestApp(t, nil, func(c *ApplicationConfig) {
		c.LoginURL, c.Timeout = "http://"+listener.Addr().String(), 200*time.Millisecond
	})
	if _, code := a.Login(t.Context(), request("Cookie", "s=1")); code != protocol.CodeUnavailable {
		t.Error(code)
	}
	if a.stats.AuthRequests[stats.AuthTimeout].Load() != 1 {
		t.Error("not counted as a timeout")
	}
}

// TestStampede lets 5,000 users reconnect at the same time, with an application
// that needs 50 ms for each answer. With backoff and jitter, all are logged in
// within a minute, and the application never gets more than 32 requests at a
// time.
func TestStampede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var current, highest, requests int
		var mu sync.Mutex
		a := newStubApp(t, func(r *http.Request) (int, string) {
			mu.Lock()
			current, requests = current+1, requests+1
			highest = max(highest, current)
			mu.Unlock()
			sleep(50 * time.Millisecond)
			mu.Lock()
			current--
			mu.Unlock()
			return 200, `{"user":"` + strings.TrimPrefix(r.Header.Get("Cookie"), "s=") + `"}`
		})
		began := time.Now()
		var all sync.WaitGroup
		for i := range 5000 {
			all.Go(func() {
				user := strconv.Itoa(i)
				for ceiling := time.Second; ; ceiling = min(2*ceiling, 30*time.Second) {
					id, code := a.Login(t.Context(), from(publicPeer(i), "Cookie", "s="+user))
					if code == protocol.CodeOK {
						if id.User != user {
							t.Errorf("user %s was logged in as %s", user, id.User)
						}
						return
					}
					sleep(500*time.Millisecond + rand.N(ceiling))
				}
			})
		}
		all.Wait()
		t.Logf("all users are logged in after %v: %d requests, at most %d at once", time.Since(began), requests, highest)
		if time.Since(began) > time.Minute || highest > 32 || requests != 5000 {
			t.Errorf("after %v; %d requests, at most %d at once", time.Since(began), requests, highest)
		}
	})
}
