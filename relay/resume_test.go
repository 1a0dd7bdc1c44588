package relay_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// A stand is a hub with a history, in a bubble.
type stand struct {
	t      *testing.T
	hub    *relay.Hub
	budget *outbox.Budget
	stats  *stats.Stats
	caught int // calls of CatchUp
	behind func() error
	marks  uint64
}

func newStand(t *testing.T, history int) *stand {
	s := &stand{t: t, stats: new(stats.Stats)}
	all := access.Patterns{access.MustPattern("*")}
	s.budget = outbox.NewBudget(1<<20, 1<<30, time.Minute, s.stats)
	s.hub = relay.NewHub(relay.HubConfig{
		Access: &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all}, Budget: s.budget, Stats: s.stats,
		Protocols: protocol.All(), Shards: 1, MaxChannels: 10, PingInterval: 20 * time.Second,
		HistoryBytes: history, HistoryAge: time.Hour,
		CatchUp: func(context.Context) error {
			s.caught++
			if s.behind != nil {
				return s.behind()
			}
			return nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = s.hub.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); s.budget.Wait() })
	s.hub.Online(1)
	s.mark()
	return s
}

// mark is a marker that comes in.
func (s *stand) mark() {
	s.marks++
	s.hub.Marker(binary.BigEndian.AppendUint64(nil, s.marks))
	s.hub.Flush()
	synctest.Wait()
}

// say publishes messages n to m on a channel, of a KiB each.
func (s *stand) say(channel string, n, m int) {
	for ; n <= m; n++ {
		s.hub.Publish([]byte(channel), fmt.Appendf(nil, "#%d:%s", n, strings.Repeat("x", 1000)))
	}
	s.hub.Flush()
	synctest.Wait()
}

// A guest is one client of a stand.
type guest struct {
	*stand
	session *relay.Session
	outbox  *outbox.Outbox
	socket  *outboxtest.FakeSocket
	read    int
}

func (s *stand) join(room int) *guest {
	g := &guest{stand: s, outbox: new(outbox.Outbox), socket: outboxtest.NewFakeSocket(room)}
	g.outbox.Init(s.budget, g.socket, nil)
	g.session = s.hub.Join(relay.Client{Protocol: protocol.V1{}, Outbox: g.outbox})
	s.t.Cleanup(g.leave)
	return g
}

func (g *guest) leave() {
	if g.session != nil {
		g.session.Leave()
		g.session = nil
		g.outbox.Shut()
		g.socket.Poke()
	}
}

func (g *guest) subscribe(channel, after string) {
	g.session.Handle(fmt.Appendf(nil, `{"type":"subscribe","channels":[{"channel":%q,"after":%q}]}`, channel, after), true)
	synctest.Wait()
}

// heard is what came since the last call, a line a frame, and the last cursor.
func (g *guest) heard() (text, cursor string) {
	list, err := frames(g.socket.Got()[g.read:])
	if err != nil && err != errCut {
		g.t.Fatal(err)
	}
	var lines []string
	for _, h := range list {
		g.read += len(h.frame)
		if err := h.understand(protocol.V1ID); err != nil {
			g.t.Fatal(err)
		}
		switch line := h.kind; h.kind {
		case "message":
			lines = append(lines, fmt.Sprint(h.place))
		case "subscribed":
			lines = append(lines, fmt.Sprint(line, " ", h.recovered))
		case "gap":
			lines = append(lines, line+" "+h.reason)
		case "heartbeat":
			lines = append(lines, fmt.Sprint(line, " ", h.at != ""))
		case "welcome", "ping", "offline":
		default:
			lines = append(lines, line)
		}
		if h.cursor != "" {
			cursor = h.cursor
		}
	}
	return strings.Join(lines, ","), cursor
}

// want fails unless exactly this came since the last call.
func (g *guest) want(what, text string) (cursor string) {
	g.t.Helper()
	got, cursor := g.heard()
	if got != text {
		g.t.Errorf("%s: heard %.300s, want %.300s", what, got, text)
	}
	return cursor
}

// run is the numbers n to m.
func run(n, m int) string {
	var all []string
	for ; n <= m; n++ {
		all = append(all, fmt.Sprint(n))
	}
	return strings.Join(all, ",")
}

// missed is a stand with one client's cursor on channel a, and messages 1 to n behind it.
func missed(t *testing.T, history, n int) (s *stand, cursor string) {
	s = newStand(t, history)
	first := s.join(outboxtest.Unlimited)
	first.subscribe("a", "")
	cursor = first.want("a new client", "subscribed false")
	first.leave()
	s.say("a", 1, n)
	return s, cursor
}

// What was missed comes as fast as the client reads: 48 KiB and one message of it wait for the client, the rest in the
// history, and what is new behind both.
func TestReplayIsPulled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cursor := missed(t, 4<<20, 1000)
		back := s.join(0)
		back.subscribe("a", cursor)
		if waiting, _ := back.outbox.Pending(); waiting > 50<<10 {
			t.Errorf("%d bytes wait for a client that does not read", waiting)
		}
		s.say("a", 1001, 1003)
		for range 20 {
			back.socket.Give(50_000)
			synctest.Wait()
			if waiting, _ := back.outbox.Pending(); waiting > 50<<10 {
				t.Errorf("%d bytes wait for a slow client", waiting)
			}
		}
		s.say("a", 1004, 1010)
		back.socket.Give(outboxtest.Unlimited)
		synctest.Wait()
		s.say("a", 1011, 1011)
		back.want("one that reads slowly", "subscribed true,"+run(1, 1011))
		if n := s.stats.Gaps[protocol.GapHistory].Load(); n != 0 {
			t.Errorf("%d gaps", n)
		}
	})
}

// A client that is slower than the history is told, and hears what is new.
func TestReplayIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cursor := missed(t, 500_000, 300)
		back := s.join(0)
		back.subscribe("a", cursor)
		s.say("a", 301, 1000)
		back.socket.Give(outboxtest.Unlimited)
		synctest.Wait()
		s.say("a", 1001, 1002)
		got, _ := back.heard()
		first, rest, told := strings.Cut(got, ",gap history")
		n := strings.Count(first, ",")
		if !told || first != "subscribed true,"+run(1, n) || n < 20 || rest != ",1001,1002" {
			t.Errorf("heard %.2000s", got)
		}
	})
}

// What was kept before an outage is not all there was: a replay ends with a gap when the link comes back.
func TestReplayEndsWithTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cursor := missed(t, 4<<20, 300)
		back := s.join(0)
		back.subscribe("a", cursor)
		s.hub.Offline()
		s.hub.Online(1)
		synctest.Wait()
		s.say("a", 301, 302)
		back.socket.Give(outboxtest.Unlimited)
		synctest.Wait()
		s.say("a", 303, 303)
		got, _ := back.heard()
		if !strings.Contains(got, "gap redis") || !strings.HasSuffix(got, ",303") {
			t.Errorf("heard %.2000s", got)
		}
	})
}

// A replay ends where the client leaves the channel, or goes.
func TestReplayIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cursor := missed(t, 4<<20, 300)
		back, gone := s.join(0), s.join(0)
		gone.subscribe("a", cursor)
		back.subscribe("a", cursor)
		gone.leave()
		back.session.Handle([]byte(`{"type":"unsubscribe","channel":"a"}`), true)
		back.socket.Give(outboxtest.Unlimited)
		s.say("a", 301, 302)
		got, _ := back.heard()
		if !strings.HasPrefix(got, "subscribed true,1,2,3") || !strings.HasSuffix(got, "unsubscribed") {
			t.Errorf("heard %.2000s", got)
		}
		if n := s.stats.Subscriptions.Load(); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}

// Nobody is told of a gap before the relay has caught up with Redis: the relay where the client was may have been ahead.
func TestGapWaitsForTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead, cursor := missed(t, 1<<20, 3)
		listener := ahead.join(outboxtest.Unlimited)
		listener.subscribe("a", cursor)
		ahead.say("a", 4, 4)
		newest := listener.want("the relay that is ahead", "subscribed true,1,2,3,4")
		behind := newStand(t, 1<<20)
		for _, test := range []struct {
			why, after string
			arrives    bool // what is on its way
			away       bool
			waits      int
			want       string
		}{
			{"a place that it will come to", newest, true, false, 1, "subscribed true"},
			{"one that it has come to", newest, false, false, 0, "subscribed true"},
			{"no place at all", "x", false, false, 0, "subscribed false"},
			{"one of another time", "AQAAAAERIjNEVWZ3iAHerb7v", false, false, 1, "subscribed false"},
			{"while there is no link", newest, false, true, 0, "subscribed false"},
		} {
			behind.caught = 0
			behind.behind = func() error {
				if test.arrives {
					behind.say("a", 1, 4)
				}
				return nil
			}
			if test.away {
				behind.hub.Offline()
				synctest.Wait()
			}
			back := behind.join(outboxtest.Unlimited)
			back.subscribe("a", test.after)
			back.want(test.why, test.want)
			if behind.caught != test.waits {
				t.Errorf("%s: waited %d times, want %d", test.why, behind.caught, test.waits)
			}
			back.leave()
		}
	})
}

// A heartbeat says how far a client is, but not while something that it missed is still to come.
func TestHeartbeatPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cursor := missed(t, 4<<20, 300)
		up, back := s.join(outboxtest.Unlimited), s.join(0)
		up.subscribe("a", "")
		back.subscribe("a", cursor)
		time.Sleep(25 * time.Second)
		synctest.Wait()
		up.want("up to date", "subscribed false,heartbeat true")
		back.socket.Give(outboxtest.Unlimited)
		synctest.Wait()
		got, _ := back.heard()
		if before, after, told := strings.Cut(got, ",heartbeat false"); !told || before+after != "subscribed true,"+run(1, 300) {
			t.Errorf("behind: heard %.2000s", got)
		}
		s.hub.Offline()
		time.Sleep(25 * time.Second)
		synctest.Wait()
		up.want("without a link", "heartbeat false")
	})
}

// The last word to a client is where it is, behind everything that was queued.
func TestLastWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, 1<<20)
		g := s.join(outboxtest.Unlimited)
		g.subscribe("a", "")
		s.say("a", 1, 3)
		s.mark()
		g.session.Close(protocol.CloseRestart)
		g.want("closed", "subscribed false,1,2,3,heartbeat true,close")
	})
}

// Without a history there are no cursors, and nobody recovers anything.
func TestNoHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, cursor := missed(t, 0, 3)
		if cursor != "" {
			t.Errorf("the cursor %q", cursor)
		}
		back := s.join(outboxtest.Unlimited)
		back.subscribe("a", "AQAAAAERIjNEVWZ3iAHerb7v")
		s.say("a", 4, 4)
		if last := back.want("one that names a place", "subscribed false,4"); last != "" {
			t.Errorf("the cursor %q", last)
		}
		s.mark()
		time.Sleep(25 * time.Second)
		synctest.Wait()
		back.want("a heartbeat", "heartbeat false")
	})
}

// Where nobody may publish markers, places mean something to the relay that gave them, and only to it.
func TestResumeWithoutMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other := newStand(t, 1<<20), newStand(t, 1<<20)
		for _, r := range []*stand{s, other} {
			r.hub.Offline()
			r.hub.Online(1)
			synctest.Wait()
		}
		first := s.join(outboxtest.Unlimited)
		first.subscribe("a", "")
		cursor := first.want("a new client", "subscribed false")
		time.Sleep(25 * time.Second)
		synctest.Wait()
		first.want("its heartbeat", "heartbeat false")
		first.leave()
		for _, r := range []*stand{s, other} {
			r.say("a", 1, 3)
		}
		back, stranger := s.join(outboxtest.Unlimited), other.join(outboxtest.Unlimited)
		back.subscribe("a", cursor)
		back.want("back at the same relay", "subscribed true,1,2,3")
		stranger.subscribe("a", cursor)
		stranger.want("at another one", "subscribed false")
	})
}

// replaySizes are what may be missed: payloads, and how many of them.
var replaySizes = []struct {
	why, payload string
	n            int
}{
	{"empty", "", 3000},
	{"tiny: frames are many times as long", "x", 3000},
	{"six times as long in JSON", strings.Repeat("\x01", 700), 300},
	{"each of them longer than what ends a replay", strings.Repeat("\x01", 4<<10), 60},
	{"at the size that ends a replay", strings.Repeat("x", 4<<10), 100},
	{"larger than a page", strings.Repeat("x", 40<<10), 30},
}

// However small messages are and however long they become on the wire, all of them come, and 48 KiB and one of them wait at
// most.
func TestReplayOfAllSizes(t *testing.T) {
	for _, test := range replaySizes {
		for _, room := range []int{outboxtest.Unlimited, 0} {
			synctest.Test(t, func(t *testing.T) {
				s, cursor := missed(t, 4<<20, 0)
				for range test.n {
					s.hub.Publish([]byte("a"), []byte(test.payload))
				}
				s.hub.Flush()
				back := s.join(room)
				back.subscribe("a", cursor)
				for range 1000 {
					if waiting, _ := back.outbox.Pending(); waiting > 48<<10+7*len(test.payload)+300 {
						t.Fatalf("%s: %d bytes wait", test.why, waiting)
					}
					back.socket.Give(10_000)
					synctest.Wait()
				}
				list, err := frames(back.socket.Got())
				if err != nil {
					t.Fatal(err)
				}
				got := 0
				for i := range list {
					if strings.Contains(string(list[i].payload), `"type":"message"`) {
						got++
					}
				}
				if got != test.n {
					t.Errorf("%s: %d messages of %d came", test.why, got, test.n)
				}
			})
		}
	}
}
