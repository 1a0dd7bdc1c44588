package auth_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecast/relay/relaytest"
)

// residentKiB is how much memory a process has, on Linux; elsewhere 0.
func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// clientFrame is one masked frame.
func clientFrame(op byte, payload []byte) []byte {
	b := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...) // the mask of zeros changes nothing
}

// One client that asks for far too much is closed by policy, costs no memory that stays, and nobody else anything.
func TestAbusiveClients(t *testing.T) {
	s := newStage(t)
	neighbour := s.dial(caller{raw: true, channels: []string{"public:1"}})
	before := residentKiB(t, s.relay.PID())
	var last relaytest.Event
	for name, tt := range map[string]struct {
		frame func(i int) []byte
		times int
		codes []uint16 // 4408: it read none of the answers. 1006: the rest of what it sent met a closed connection, and the kernel reset it
	}{
		"a million subscribes": {func(i int) []byte {
			return clientFrame(1, fmt.Appendf(nil, `{"type":"subscribe","channels":[{"channel":"public:%d"}]}`, i))
		}, 1e6, []uint16{1008, 1006}},
		"a million subscribes to what is shut": {func(i int) []byte {
			return clientFrame(1, fmt.Appendf(nil, `{"type":"subscribe","channels":[{"channel":"shut:%d"}]}`, i))
		}, 1e6, []uint16{1008, 1006}},
		"many channels in one command": {func(i int) []byte {
			return clientFrame(1, []byte(`{"type":"subscribe","channels":[`+strings.TrimSuffix(strings.Repeat(`{"channel":"public:x"},`, 600), ",")+`]}`))
		}, 1e4, []uint16{1008, 4408, 1006}},
		"a name of 1 MiB": {func(int) []byte {
			return clientFrame(1, []byte(`{"type":"subscribe","channels":[{"channel":"`+strings.Repeat("x", 1<<20)+`"}]}`))
		}, 1, []uint16{1009, 1006}},
		"a token of 1 MiB": {func(int) []byte {
			return clientFrame(1, []byte(`{"type":"auth","token":"`+strings.Repeat("x", 1<<20)+`"}`))
		}, 1, []uint16{1009, 1006}},
		"100,000 pings": {func(int) []byte { return clientFrame(9, []byte("x")) }, 1e5, []uint16{1008, 1006}},
		"100,000 pongs": {func(int) []byte { return clientFrame(10, nil) }, 1e5, []uint16{1008, 1006}},
	} {
		c := s.dial(caller{})
		chunk := new(bytes.Buffer)
		for i := range tt.times {
			chunk.Write(tt.frame(i))
			if chunk.Len() < 32<<10 && i < tt.times-1 {
				continue
			}
			if err := c.SendRaw(chunk.Bytes()); err != nil {
				break // closed on: what was to happen
			}
			chunk.Reset()
		}
		end := s.await(c, name, relaytest.Is(relaytest.KindEnd))
		if !slices.Contains(tt.codes, end.Code) {
			t.Errorf("%s: closed %d, want one of %v", name, end.Code, tt.codes)
		}
		s.redis.CLI("PUBLISH", "public:1", name)
		var err error
		if last, err = neighbour.AwaitAfter(t.Context(), last, relaytest.Is(relaytest.KindMessage)); err != nil || last.Data != name {
			t.Errorf("%s: the neighbour heard %q, %v", name, last.Data, err)
		}
	}
	if grown := residentKiB(t, s.relay.PID()) - before; grown > 64<<10 {
		t.Errorf("the relay has grown by %d KiB", grown)
	}
	metrics := get(t, "http://"+s.relay.AdminAddr()+"/metrics")
	if !strings.Contains(metrics, `sidecast_connections_closed_total{code="1008"}`) || strings.Contains(metrics, `closed_total{code="1008"} 0`) {
		t.Error("nobody was closed by policy")
	}
}

// Thousands of users come back at once, each with a credential of their own, to a relay whose application serves 32 at a
// time in 50 ms each: all are let in as who they are, the others are told to try later and nothing else, and the
// application never has more than the cap in its hands. How long it takes on an idle machine TestStampede shows.
func TestStampedeOnTheWire(t *testing.T) {
	const users, atOnce = 5000, 32
	var now, most, asked atomic.Int64
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		asked.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-time.After(50 * time.Millisecond)
		fmt.Fprintf(w, `{"user":%q,"channels":["chat:*"]}`, strings.TrimPrefix(r.Header.Get("Cookie"), "s="))
	})
	// The relay would not count questions that it gave up, and the application would.
	s := newStage(t, "AUTH_URL=http://"+addr+"/", "AUTH_TIMEOUT=10s", "USER_CHANNELS=chat:{user}")
	began := time.Now()
	var all sync.WaitGroup
	var tries, failed atomic.Int64
	doors := make(chan struct{}, 500) // of this machine's own: a test's client is no browser on another one
	for i := range users {
		all.Go(func() {
			user := strconv.Itoa(i)
			d := s.dialer(caller{header: http.Header{"Cookie": {"s=" + user}}})
			for ceiling := time.Second; ; ceiling = min(2*ceiling, 30*time.Second) {
				doors <- struct{}{}
				tries.Add(1)
				c, err := d.Dial(t.Context())
				<-doors
				if err != nil && failed.Add(1) <= users/50 { // this process may have stood still for that long
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
						t.Errorf("user %s has %s", user, e.Channel)
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
	t.Logf("%d users are back after %v: %d connections, %d questions, at most %d at once", users,
		time.Since(began).Round(100*time.Millisecond), tries.Load(), asked.Load(), most.Load())
	if most.Load() > atOnce || asked.Load() < users {
		t.Errorf("%d questions, %d at once", asked.Load(), most.Load())
	}
}
