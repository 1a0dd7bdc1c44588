package sse

import (
	"net/http"
	"regexp"
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
		if !strings.HasSuffix(r.lastID, "~"+protocol.ChannelTag("a")) {
			t.Errorf("the id is %s", r.lastID)
		}
		b.publish("a", "x")
		block, _ = r.next()
		cursor, _, _ := strings.Cut(r.lastID, "~")
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
		r.want("id\ndata: x", "id",
			"event: close\ndata: {\"code\":1012,\"reason\":\"the relay restarts: reconnect after a random delay\"}")
		r.wantEnd()
		wantTryAgain(t, b.open("/sse?channel=a"))
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
