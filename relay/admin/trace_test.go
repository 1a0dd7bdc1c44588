package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sidecast/relay/admin"
	"sidecast/relay/blackbox"
	"sidecast/relay/stats"
	"sidecast/relay/trace"
)

// tracing returns a server whose /trace follows the records of a box.
func tracing(t *testing.T) (*httptest.Server, *blackbox.Box) {
	box, err := blackbox.Open(1<<20, "")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(admin.Handler(admin.Config{
		Registry: admin.NewRegistry(new(stats.Stats), admin.Gauges{}, "", ""), Ready: http.NotFoundHandler(), Live: http.NotFoundHandler(), Loopback: true,
		Trace: func(channel string) *trace.Follower {
			return trace.NewFollower(box, channel, channel, func() map[string]int { return nil })
		},
	}))
	t.Cleanup(func() { server.Close(); _ = box.Close() })
	return server, box
}

// follow requests the events of a channel, and returns a function that waits for
// the next one.
func follow(t *testing.T, server *httptest.Server, channel string) (next func() trace.Event, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/trace?channel="+channel, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s, %s", response.Status, response.Header)
	}
	lines := bufio.NewScanner(response.Body)
	return func() (e trace.Event) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					t.Fatal(err)
				}
				return e
			}
		}
		t.Fatalf("the stream ends: %v", lines.Err())
		return e
	}, cancel
}

// What happens on the channel is sent while it happens.
func TestTrace(t *testing.T) {
	server, box := tracing(t)
	next, _ := follow(t, server, "chat:1")
	if e := next(); e.Kind != trace.EventStart {
		t.Fatalf("it begins with %+v", e)
	}
	var name, other blackbox.Name
	box.Message(&other, []byte("news"), blackbox.Message{})
	box.Message(&name, []byte("chat:1"), blackbox.Message{Size: 5, Heard: 3})
	if e := next(); e.Kind != trace.EventMessage || e.Size != 5 || e.Listeners != 3 || e.Channel != "chat:1" || e.At.IsZero() {
		t.Errorf("%+v", e)
	}
	box.Link(false, 1)
	if e := next(); e.Kind != trace.EventLinkDown {
		t.Errorf("%+v", e)
	}
}

// So many channels are followed at a time, and a place becomes free again.
func TestTraceIsLimited(t *testing.T) {
	server, _ := tracing(t)
	open := func() (status int, stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/trace?channel=a", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		stop = func() { cancel(); _ = response.Body.Close() }
		t.Cleanup(stop)
		return response.StatusCode, stop
	}
	_, stop := open()
	n := 1
	for status := 0; status != http.StatusServiceUnavailable; n++ {
		if status, _ = open(); n > 100 {
			t.Fatal("it is not limited")
		}
	}
	stop()
	for status := 0; status != http.StatusOK; status, _ = open() {
		if t.Context().Err() != nil {
			t.Fatal("no place becomes free")
		}
	}
}
