package auth_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecast/relay/relaytest"
)

// TestStampedeOverWebSocket lets 5,000 users reconnect to a real relay at the
// same time, each with its own cookie. The application needs 50 ms for each
// answer. All users are logged in as themselves, clients that have to wait are
// closed with 1013, and the application never gets more than 32 requests at a
// time. TestStampede checks how long this takes.
func TestStampedeOverWebSocket(t *testing.T) {
	const users, concurrency = 5000, 32
	var current, highest, requests atomic.Int64
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := current.Add(1)
		defer current.Add(-1)
		requests.Add(1)
		for h := highest.Load(); n > h && !highest.CompareAndSwap(h, n); h = highest.Load() {
		}
		<-time.After(50 * time.Millisecond)
		fmt.Fprintf(w, `{"user":%q,"channels":["chat:*"]}`, strings.TrimPrefix(r.Header.Get("Cookie"), "s="))
	})
	// The timeout is long, because the application also counts requests that
	// the relay has given up.
	s := newSetup(t, "AUTH_URL=http://"+addr+"/", "AUTH_TIMEOUT=10s", "USER_CHANNELS=chat:{user}")
	began := time.Now()
	var all sync.WaitGroup
	var tries, failed atomic.Int64
	dialing := make(chan struct{}, 500) // all clients share the CPU of this machine, unlike browsers
	for i := range users {
		all.Go(func() {
			user := strconv.Itoa(i)
			d := s.dialer(dialOptions{header: http.Header{"Cookie": {"s=" + user}}})
			for ceiling := time.Second; ; ceiling = min(2*ceiling, 30*time.Second) {
				dialing <- struct{}{}
				tries.Add(1)
				c, err := d.Dial(t.Context())
				<-dialing
				if err != nil && failed.Add(1) <= users/50 { // the machine may have been too busy
					continue
				}
				if err != nil {
					t.Errorf("user %s: %v", user, err)
					return
				}
				defer c.Drop()
				e, err := c.Await(t.Context(), func(e relaytest.Event) bool {
					return e.Kind == relaytest.KindEnd || e.Kind == relaytest.KindSubscribed
				})
				switch {
				case err != nil:
					t.Errorf("user %s: %v", user, err)
					return
				case e.Kind == relaytest.KindSubscribed:
					if e.Channel != "chat:"+user {
						t.Errorf("user %s is subscribed to %s", user, e.Channel)
					}
					return
				case e.Code != 1013:
					t.Errorf("user %s: closed %d", user, e.Code)
					return
				}
				<-time.After(500*time.Millisecond + rand.N(ceiling))
			}
		})
	}
	all.Wait()
	t.Logf("%d users are logged in after %v: %d connections, %d requests, at most %d at the same time", users,
		time.Since(began).Round(100*time.Millisecond), tries.Load(), requests.Load(), highest.Load())
	if highest.Load() > concurrency || requests.Load() < users {
		t.Errorf("%d requests, %d at the same time", requests.Load(), highest.Load())
	}
}
