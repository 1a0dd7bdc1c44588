package auth

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// TestFloodDelaysNoOtherClient checks that a client gets its answer soon while
// 100 connections with four questions each flood the application: few requests
// of the flood are sent before the client's.
func TestFloodDelaysNoOtherClient(t *testing.T) {
	const behindProxy = "10.0.0.1:1"
	client := questioner{peer: "203.0.113.9:1", user: "7"}
	for _, tt := range []struct {
		comment string
		flood   func(i int) questioner // the i-th connection of the flood
		client  questioner
		before  int // maximum number of requests of the flood before the client's
		atOnce  int // maximum number of requests of the flood at the same time
	}{
		{"one user, from many addresses",
			func(i int) questioner { return questioner{peer: publicPeer(i), user: "mallory"} }, client, 0, 8},
		{"four users, who use all slots",
			func(i int) questioner { return questioner{peer: publicPeer(i), user: fmt.Sprint("mallory", i%4)} },
			client, 4, 32},
		{"twenty users",
			func(i int) questioner { return questioner{peer: publicPeer(i), user: fmt.Sprint("mallory", i%20)} },
			client, 20, 32},
		{"one address, anonymous",
			func(int) questioner { return questioner{peer: publicPeer(0)} }, client, 0, 8},
		{"one /64 of IPv6, anonymous",
			func(i int) questioner { return questioner{peer: fmt.Sprintf("[2001:db8::%x]:1", i)} }, client, 0, 8},
		{"one address that the proxy forwards, and a client with another",
			func(int) questioner { return questioner{peer: behindProxy, forwarded: "198.51.100.7"} },
			questioner{peer: behindProxy, forwarded: "198.51.100.8"}, 0, 8},
		{"connections without limits per address: each has its turn",
			func(int) questioner { return questioner{peer: "192.168.1.1:1"} }, questioner{peer: "192.168.1.1:1"}, 100, 32},
		{"logins from one address, and a login",
			func(int) questioner { return questioner{peer: publicPeer(0), login: true} },
			questioner{peer: publicPeer(1), login: true}, 0, 8},
		{"logins from one address, and a question about a channel",
			func(int) questioner { return questioner{peer: publicPeer(0), login: true} }, client, 0, 8},
		{"questions of one user about channels, and a login from the user's address",
			func(int) questioner { return questioner{peer: publicPeer(0), user: "mallory"} },
			questioner{peer: publicPeer(0), login: true}, 0, 8},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app := &floodedApp{}
				a := newStubApp(t, app.answer)
				a.proxies = NewProxies(prefixes("10.0.0.1/32"))
				stop := flood(a, tt.flood)
				sleep(time.Second)
				asked := app.sentByFlood()
				code := tt.client.connect(a)("client")
				stop()
				if code != protocol.CodeOK {
					t.Errorf("the client got %v", code)
				}
				if before := app.beforeClient - asked; before > tt.before {
					t.Errorf("%d requests of the flood were sent before the client's, want %d at most", before, tt.before)
				}
				if app.highest > tt.atOnce {
					t.Errorf("%d requests of the flood at once, want %d at most", app.highest, tt.atOnce)
				}
			})
		})
	}
}

// flood opens 100 connections that ask about invented channels or with invented
// cookies, four questions at a time. stop ends the flood.
func flood(a *Application, connection func(i int) questioner) (stop func()) {
	var stopped atomic.Bool
	var all sync.WaitGroup
	for i := range 100 {
		ask := connection(i).connect(a)
		for at := range 4 {
			all.Go(func() {
				for n := 0; !stopped.Load(); n++ {
					if ask(fmt.Sprintf("invented-%d-%d-%d", i, at, n)) == protocol.CodeUnavailable {
						sleep(100 * time.Millisecond)
					}
				}
			})
		}
	}
	return func() { stopped.Store(true); all.Wait() }
}

// A questioner is a connection that asks for its login, or about channels.
type questioner struct {
	peer, forwarded string // its address, and X-Forwarded-For
	user            string // empty if it is anonymous
	login           bool
}

// connect returns a function that asks about a channel, or with a cookie.
func (q questioner) connect(a *Application) func(name string) protocol.Code {
	request := func(cookie string) *http.Request {
		return from(q.peer, "X-Forwarded-For", q.forwarded, "Cookie", cookie)
	}
	if q.login {
		return func(cookie string) protocol.Code {
			r := request(cookie)
			_, code := a.Login(r.Context(), r)
			return code
		}
	}
	r := request("session=1")
	var id *access.Identity
	if q.user != "" {
		id = &access.Identity{User: q.user}
	}
	authorize := a.ChannelAuthorizer(r, id)
	return func(channel string) protocol.Code {
		_, code := authorize(r.Context(), q.user, channel)
		return code
	}
}

// A floodedApp counts the requests of the flood.
type floodedApp struct {
	mu                     sync.Mutex
	flood, atOnce, highest int
	beforeClient           int // of the flood's requests, those before the client's
}

func (f *floodedApp) answer(r *http.Request) (status int, body string) {
	if strings.Contains(r.Header.Get("Cookie")+r.Header.Get("X-Sidecast-Channel"), "invented") {
		f.delay()
		return 403, ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beforeClient = f.flood
	if r.URL.Path == "/channel" {
		return 204, ""
	}
	return 200, `{"user":"7"}`
}

// delay lets one request of the flood take about 100 ms. Each takes a different
// time, so that slots become free one after the other.
func (f *floodedApp) delay() {
	f.mu.Lock()
	f.flood++
	f.atOnce++
	f.highest = max(f.highest, f.atOnce)
	duration := 100*time.Millisecond + time.Duration(f.flood)*time.Microsecond
	f.mu.Unlock()
	sleep(duration)
	f.mu.Lock()
	f.atOnce--
	f.mu.Unlock()
}

func (f *floodedApp) sentByFlood() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flood
}
