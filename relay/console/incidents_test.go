package console

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

func newBox(t testing.TB) *blackbox.Box {
	t.Helper()
	box, err := blackbox.Open(max(1<<20, blackbox.MinBytes), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	return box
}

// Each record is an incident with its cause, or none.
func TestIncidentsOfRecords(t *testing.T) {
	id := blackbox.SessionID{1, 2, 3}
	const session = "AEBAGAAAAAAAAAAAAAAA"
	for _, tt := range []struct {
		name   string
		record func(box *blackbox.Box, session uint32)
		want   incident // without its time
		is     bool
	}{
		{"a message", func(b *blackbox.Box, _ uint32) { b.Message(nil, []byte("chat"), blackbox.Message{Seq: 1, Size: 5}) }, incident{}, false},
		{"a message that is too large", func(b *blackbox.Box, _ uint32) {
			b.Message(nil, []byte("chat"), blackbox.Message{Seq: 1, TooLarge: true})
		}, incident{Kind: "too_large", Channel: "chat"}, true},
		{"a gap of one client on a channel", func(b *blackbox.Box, n uint32) {
			b.Gap(blackbox.Gap{Session: n, Channel: "chat", Reason: "history"})
		}, incident{Kind: "gap", Channel: "chat", Session: session, User: "42", Reason: "history"}, true},
		{"a gap of all clients", func(b *blackbox.Box, _ uint32) { b.Gap(blackbox.Gap{Reason: "source_lost"}) },
			incident{Kind: "gap", Reason: "source_lost"}, true},
		{"a client that left", func(b *blackbox.Box, n uint32) { b.End(n, blackbox.End{Code: 1001}) }, incident{}, false},
		{"a client that was evicted", func(b *blackbox.Box, n uint32) {
			b.End(n, blackbox.End{Code: uint32(protocol.CloseSlow), Evicted: true})
		}, incident{Kind: "evicted", Session: session, User: "42", Code: "4408 " + protocol.CloseSlow.Reason()}, true},
		{"a refused command", func(b *blackbox.Box, n uint32) {
			b.Refused(blackbox.Refusal{Session: n, User: "42", Channel: "order:7", Code: uint32(protocol.CodeForbidden), Reason: "subscribe"})
		}, incident{Kind: "refused", Session: session, User: "42", Channel: "order:7", Code: "forbidden", Reason: "subscribe"}, true},
		{"a refused connection", func(b *blackbox.Box, _ uint32) {
			b.Refused(blackbox.Refusal{User: "7", Code: uint32(protocol.CloseForbidden), Reason: "connect"})
		}, incident{Kind: "refused", User: "7", Code: "4403 " + protocol.CloseForbidden.Reason(), Reason: "connect"}, true},
		{"a code of another version", func(b *blackbox.Box, _ uint32) { b.Refused(blackbox.Refusal{Code: 200, Reason: "connect"}) },
			incident{Kind: "refused", Code: "200", Reason: "connect"}, true},
		{"a connection that was accepted", func(b *blackbox.Box, _ uint32) { b.Refused(blackbox.Refusal{Reason: "connect"}) }, incident{}, false},
		{"a rejected connection", func(b *blackbox.Box, _ uint32) { b.Rejected("origin") }, incident{Kind: "rejected", Reason: "origin"}, true},
		{"a dropped message", func(b *blackbox.Box, _ uint32) { b.Dropped([]byte("\xff"), "name") },
			incident{Kind: "dropped", Channel: "\xff", Reason: "name"}, true},
		{"Redis is lost", func(b *blackbox.Box, _ uint32) { b.Link(false, 5) }, incident{Kind: "down"}, true},
		{"Redis is back", func(b *blackbox.Box, _ uint32) { b.Link(true, 5) }, incident{Kind: "up"}, true},
	} {
		box := newBox(t)
		n := box.Begin(blackbox.Client{ID: id, User: "42"})
		tt.record(box, n)
		f := newFollower(box, time.Now())
		f.read()
		switch {
		case !tt.is && len(f.kept) != 0:
			t.Errorf("%s: %+v", tt.name, f.kept)
		case !tt.is:
		case len(f.kept) != 1:
			t.Errorf("%s: %d incidents", tt.name, len(f.kept))
		default:
			got := f.kept[0]
			if got.At.IsZero() {
				t.Errorf("%s: no time", tt.name)
			}
			if got.At = (time.Time{}); got != tt.want {
				t.Errorf("%s:\n%+v, want\n%+v", tt.name, got, tt.want)
			}
		}
	}
}

// A console shows the newest incidents when it is opened, and then each new one
// once, and which channels are busy since then.
func TestIncidents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := newBox(t)
		begun := 0
		add := func(n int) {
			for range n {
				box.Gap(blackbox.Gap{Channel: fmt.Sprint(begun)})
				begun++
			}
		}
		add(1000)
		box.Message(nil, []byte("before"), blackbox.Message{Seq: 1, Size: 1})
		time.Sleep(time.Second)
		c := New(Config{Stats: new(stats.Stats), BlackBox: box})
		var first greeting
		var sample shown
		var news []incident
		for range 2 { // a console that is opened again
			a := open(t, c)
			if a.next(t, "hello", &first); !first.Records {
				t.Error("the console says that the relay keeps no records")
			}
			if a.next(t, "incidents", &news); len(news) != keptIncidents || news[keptIncidents-1].Channel != fmt.Sprint(begun-1) {
				t.Errorf("%d incidents at the beginning", len(news))
			}
			for _, n := range []int{1, 3, 0, keptIncidents + 1} {
				begin := max(begun, begun+n-keptIncidents)
				add(n)
				box.Message(nil, []byte("chat"), blackbox.Message{Seq: 2, Size: 1, Heard: 7})
				a.next(t, "sample", &sample)
				if len(sample.Busiest) != 1 || sample.Busiest[0].Channel != "chat" || sample.Busiest[0].Subscribers != 7 {
					t.Errorf("the busiest channels are %+v", sample.Busiest)
				}
				if n == 0 {
					continue
				}
				a.next(t, "incidents", &news)
				if len(news) != begun-begin || news[0].Channel != fmt.Sprint(begin) || news[len(news)-1].Channel != fmt.Sprint(begun-1) {
					t.Errorf("%d incidents after %d, want those from %d to %d", len(news), n, begin, begun-1)
				}
			}
			a.close()
		}
	})
}

// The names of many sessions that never end take a limited amount of memory.
func TestClientsAreBounded(t *testing.T) {
	f := newFollower(nil, time.Now())
	f.limit = 100
	for i := range uint32(110) {
		f.know(&blackbox.Record{Kind: blackbox.KindIs, Session: i, User: "42"})
	}
	if len(f.clients) != 10 {
		t.Errorf("%d clients", len(f.clients))
	}
	if f.read(); !slices.Equal(f.after(0), nil) {
		t.Error("a relay without a black box has incidents")
	}
}

// BenchmarkRead measures reading one message of the black box.
func BenchmarkRead(b *testing.B) {
	box := newBox(b)
	f := newFollower(box, time.Now())
	names := make([]blackbox.Name, 1000)
	const together = 1000
	for b.Loop() {
		b.StopTimer()
		for i := range names {
			box.Message(&names[i], fmt.Appendf(nil, "room:%d", i), blackbox.Message{Size: 100, Heard: i})
		}
		b.StartTimer()
		f.read()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/together, "ns/message")
}

// BenchmarkOpen measures reading a full black box, when the first console is
// opened.
func BenchmarkOpen(b *testing.B) {
	box, err := blackbox.Open(16<<20, "")
	if err != nil {
		b.Fatal(err)
	}
	defer box.Close()
	names := make([]blackbox.Name, 1000)
	for i := range 6_000_000 {
		k := i % len(names)
		box.Message(&names[k], fmt.Appendf(nil, "room:%d", k), blackbox.Message{Seq: uint64(i), Size: 100, Heard: 30})
	}
	for b.Loop() {
		newFollower(box, time.Now()).read()
	}
}
