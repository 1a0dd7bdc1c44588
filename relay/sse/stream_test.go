package sse

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/protocol"
)

// A stream begins with the place where it begins, and then has the messages.
func TestStream(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		r := b.open("/sse?channel=a")
		if got := r.Header.Get("Content-Type"); r.StatusCode != http.StatusOK || got != "text/event-stream" {
			t.Fatalf("the answer is %s with %q", r.Status, got)
		}
		b.publish("a", "one")
		b.publish("b", "another channel")
		b.publish("a", "two\nlines")
		b.publish("a", "\xff")
		r.want("id", "id\ndata: one", "id\ndata: two\ndata: lines", "id\nevent: base64\ndata: /w==")
		if n := b.stats.Connections[protocol.ServerSentEvents][protocol.SSEID].Load(); n != 1 {
			t.Errorf("%d connections are counted", n)
		}
		r.leave()
		if n := b.hub.Sessions(); n != 0 {
			t.Errorf("%d sessions are left after the client has gone", n)
		}
		line := regexp.MustCompile(`msg="connection closed".* transport=sse protocol=sse code=1000 .* messages=3 bytes=\d+`)
		if log := b.log.String(); !line.MatchString(log) {
			t.Errorf("the log is %s", log)
		}
	})
}

// With format=json, the data is the object of sidecast.v1.
func TestJSON(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		r := b.open("/sse?channel=a&format=json")
		block, err := r.next()
		if err != nil || !strings.HasPrefix(block, "event: welcome\ndata: {\"type\":\"welcome\",\"session\":\"") {
			t.Fatalf("the stream begins with %q, %v", block, err)
		}
		r.want("id")
		b.publish("a", "x")
		block, _ = r.next()
		cursor, tag, _ := strings.Cut(r.lastID, "~")
		if tag != protocol.ChannelTag("a") {
			t.Errorf("the id is %s", r.lastID)
		}
		if want := `id` + "\n" + `data: {"type":"message","channel":"a","cursor":"` + cursor + `","data":"x"}`; withoutID(block) != want {
			t.Errorf("block %q, want %q", block, want)
		}
	})
}

// A client that returns with the last id receives exactly what it missed, from
// each place that the stream has named: its beginning, a message, a heartbeat.
// The header takes precedence over the URL.
func TestResume(t *testing.T) {
	for _, format := range []string{"", "&format=json"} {
		inBubble(t, func(t *testing.T, b *bubble) {
			r := b.open("/sse?channel=a" + format)
			if format != "" {
				_, _ = r.next() // welcome
			}
			data := func(r *reader) (list []string) {
				for {
					block, err := r.next()
					if err != nil {
						t.Fatal(err)
					}
					if m := regexp.MustCompile(`data"?: ?"?(\w+)"?}?$`).FindStringSubmatch(block); m != nil {
						if list = append(list, m[1]); m[1] == "end" {
							return list
						}
					} else if strings.Contains(block, "event: gap") {
						list = append(list, "gap")
					}
				}
			}
			r.want("id")
			begin := r.lastID
			b.publish("a", "one")
			_, _ = r.next()
			message := r.lastID
			b.publish("a", "two")
			_, _ = r.next()
			b.mark("marker01")
			r.want("id") // a heartbeat
			heartbeat := r.lastID
			r.leave()
			b.publish("a", "three")
			b.publish("a", "end")
			for _, tt := range []struct{ target, id, want string }{
				{"/sse?channel=a", begin, "one two three end"},
				{"/sse?channel=a", message, "two three end"},
				{"/sse?channel=a", heartbeat, "three end"},
				{"/sse?channel=a&after=" + strings.Split(begin, "~")[0], heartbeat, "three end"},
				{"/sse?channel=a&after=" + strings.Split(message, "~")[0], "", "two three end"},
				{"/sse?channel=a&at=" + heartbeat, "", "three end"},
				{"/sse?channel=a&after=" + strings.Split(message, "~")[0] + "&at=" + heartbeat, "", "three end"},
			} {
				r := b.open(tt.target+format, "Last-Event-ID", tt.id)
				if got := strings.Join(data(r), " "); got != tt.want {
					t.Errorf("%s from %q: %s, want %s", tt.target, tt.id, got, tt.want)
				}
				r.leave()
			}
			for why, id := range map[string]string{
				"not an id":              "42",
				"an id of another kind":  "a b",
				"the tag of another one": strings.Split(message, "~")[0] + "~" + protocol.ChannelTag("other"),
				"a place that is gone":   "AQAAAAF6enp6enp6egAAAAAA",
			} {
				r := b.open("/sse?channel=a"+format, "Last-Event-ID", id)
				b.publish("a", "end")
				if got := strings.Join(data(r), " "); got != "gap end" {
					t.Errorf("%s: %s, want a gap", why, got)
				}
				r.leave()
			}
		})
	}
}

// Heartbeats arrive in the interval, and a client that does not read is
// disconnected although it sends nothing: over HTTP/1.1 and HTTP/2.
func TestHeartbeat(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		r := b.open("/sse?channel=a")
		r.want("id")
		for range 100 {
			began := time.Now()
			r.want("id")
			if took := time.Since(began); took < 20*time.Second || took > 30*time.Second {
				t.Fatalf("a heartbeat after %v", took)
			}
		}
	})
}

// Clients are notified of an outage of Redis, and of the gap after it.
func TestOutage(t *testing.T) {
	const offline, gap = "event: offline\ndata: {\"type\":\"offline\",\"reason\":\"redis\"}", "event: gap\ndata: {\"type\":\"gap\",\"reason\":\"redis\",\"spread\":12}"
	inBubble(t, func(t *testing.T, b *bubble) {
		r := b.open("/sse?channel=a")
		r.want("id")
		b.hub.Offline()
		r.want(offline)
		late := b.open("/sse?channel=a")
		late.want(offline, "id")
		b.hub.Online(1)
		b.hub.Flush()
		r.want(gap)
		late.want(gap)
	})
}

// When the relay stops, each stream ends with the client's place and the code.
// New clients are asked to try again.
func TestDrain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		r := b.open("/sse?channel=a")
		r.want("id")
		b.publish("a", "x")
		go b.hub.Drain(t.Context(), 0, protocol.CloseRestart)
		r.want("id\ndata: x", ":", "event: close\ndata: {\"code\":1012,\"reason\":\"the relay restarts: reconnect after a random delay\"}")
		r.wantEnd()
		wantTryAgain(t, b.open("/sse?channel=a"))
	})
}

// A heartbeat, and the last one before the end, do not take a client back to the
// place of a marker before its last message: the id of an event stream is its
// only place.
func TestHeartbeatDoesNotRewind(t *testing.T) {
	for _, query := range []string{"channel=a", "channel=a&channel=b"} {
		inBubble(t, func(t *testing.T, b *bubble) {
			r := b.open("/sse?" + query)
			b.publish("a", "x")
			for {
				if block, _ := r.next(); strings.Contains(block, "data: ") && !strings.Contains(block, "welcome") {
					break
				}
			}
			last := r.lastID
			r.want(":")
			b.mark("marker01")
			r.want("id")
			if r.lastID == last {
				t.Error("a heartbeat after a new marker has the old place")
			}
			marker := r.lastID
			b.publish("c", "of another channel")
			r.want("id")
			if r.lastID != marker {
				t.Errorf("a message on another channel changes the place from %s to %s", marker, r.lastID)
			}
		})
	}
}

// Several channels share the id: a client that returns with the last one misses
// and repeats nothing on any of them, wherever its connection ended.
func TestResumeOfSeveralChannels(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		const target = "/sse?channel=a&channel=b&channel=c"
		r, n, received := b.open(target), 0, 0
		publish := func(count int) {
			for range count {
				n++
				b.publish(string(rune('a'+n*n%3)), strconv.Itoa(n))
				if n%7 == 0 {
					b.mark(fmt.Sprintf("mark%04d", n))
				}
			}
		}
		number := regexp.MustCompile(`"data":"(\d+)"}$`)
		read := func(until int) {
			for received < until {
				block, err := r.next()
				if err != nil || strings.Contains(block, "event: gap") {
					t.Fatalf("after %d: %q, %v", received, block, err)
				}
				if m := number.FindStringSubmatch(block); m != nil {
					if m[1] != strconv.Itoa(received+1) {
						t.Fatalf("%s follows %d", m[1], received)
					}
					received++
				}
			}
		}
		publish(1)
		read(1)
		id := r.lastID
		for round := range 100 {
			publish(round % 11)
			read(n - round%4)
			id = cmp.Or(r.lastID, id)
			r.leave()
			publish(round % 5)
			if round%4 == 0 && strings.Contains(id, "~") {
				r = b.open(target + "&after=" + url.QueryEscape(id))
			} else {
				r = b.open(target, "Last-Event-ID", id)
			}
			publish(round % 3)
		}
		read(n)
	})
}

// A client that comes from sidecast.v1 names a position for each channel.
func TestPositionsInURL(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		cursors := map[string]string{}
		for _, channel := range []string{"a", "b"} {
			r := b.open("/sse?channel=" + channel)
			r.want("id")
			for n := range 3 {
				b.publish(channel, fmt.Sprint(channel, n))
				if _, _ = r.next(); n == 1 {
					cursors[channel] = r.lastID
				}
			}
			r.leave()
		}
		r := b.open("/sse?channel=a&channel=b&after=" + cursors["a"] + "&after=" + cursors["b"])
		var got []string
		for len(got) < 2 {
			block, err := r.next()
			if err != nil {
				t.Fatal(err)
			}
			if m := regexp.MustCompile(`"data":"(\w+)"`).FindStringSubmatch(block); m != nil {
				got = append(got, m[1])
			} else if strings.Contains(block, "gap") {
				got = append(got, "gap")
			}
		}
		if strings.Join(got, " ") != "a2 b2" {
			t.Errorf("the client receives %v, want a2 b2", got)
		}
	})
}

// wantTryAgain checks the answer to a client that should try again: a stream
// that ends at once, and a time of 2 to 10 s.
func wantTryAgain(t *testing.T, r *reader) {
	t.Helper()
	if got := r.Header.Get("Content-Type"); r.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Errorf("the answer is %s with %q", r.Status, got)
	}
	if got := r.body(); !regexp.MustCompile(`^retry: ([2-9]\d\d\d|10000)\n\n$`).MatchString(got) {
		t.Errorf("the body is %q", got)
	}
}

// A client that does not read is evicted, and the others receive everything.
func TestSlowClient(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		fast, slow := b.open("/sse?channel=a"), b.open("/sse?channel=a")
		fast.want("id")
		slow.want("id")
		payload := strings.Repeat("x", 1<<20)
		for range 10 {
			b.publish("a", payload)
			fast.want("id\ndata: " + payload)
		}
		synctest.Wait()
		if n := b.hub.Sessions(); n != 1 {
			time.Sleep(2 * time.Second)
		}
		if n := b.hub.Sessions(); n != 1 {
			t.Errorf("%d sessions are left, want the one that reads", n)
		}
		if code := b.stats.Closed[protocol.CloseSlow.Slot()].Load(); code != 1 {
			t.Errorf("%d clients were evicted", code)
		}
	})
}
