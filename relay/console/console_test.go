package console

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// The library of the plots is the file that its authors have published as
// version 1.6.32, unchanged.
func TestLibrary(t *testing.T) {
	for name, want := range map[string]string{
		"uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
		"uPlot.min.css":     "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
		"uPlot.LICENSE":     "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
	} {
		content, err := files.ReadFile("page/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s has the hash %x", name, sum)
		}
	}
}

func TestPage(t *testing.T) {
	page := New(Config{Stats: new(stats.Stats)}).Page()
	get := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		page.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "http://localhost:9190"+path, nil))
		return w
	}
	entries, err := files.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, method, path string
		status             int
	}{
		{"the page", "GET", "/console", 200},
		{"without its body", "HEAD", "/console", 200},
		{"another method", "POST", "/console", 405},
		{"the folder", "GET", "/console/", 308},
		{"its own file", "GET", "/console/index.html", 404},
		{"an unknown file", "GET", "/console/x.js", 404},
		{"a path with dots", "GET", "/console/%2e%2e/page.go", 404},
	} {
		if w := get(tt.method, tt.path); w.Code != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, w.Code, tt.status)
		}
	}
	for _, entry := range entries {
		path := "/console/" + entry.Name()
		switch entry.Name() {
		case "uPlot.LICENSE":
			continue
		case "index.html":
			path = "/console"
		}
		w := get("GET", path)
		if w.Code != 200 || w.Header().Get("Content-Security-Policy") != policy || w.Header().Get("X-Content-Type-Options") != "nosniff" ||
			w.Header().Get("X-Frame-Options") != "DENY" || strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %d, headers %v", path, w.Code, w.Header())
		}
		if strings.Contains(w.Body.String(), " style=\"") || strings.Contains(w.Body.String(), "innerHTML") {
			t.Errorf("%s has a style in its markup, or makes markup of text", path)
		}
	}
	if !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
}

// A reader is a console: it reads the feed.
type reader struct {
	*bufio.Reader
	status int
	close  func()
}

// open opens a console. In a bubble there is no network, so the answer goes
// through a pipe.
func open(t *testing.T, c *Console) *reader {
	t.Helper()
	w := newPipe()
	r, cancel := request(t)
	done := make(chan struct{})
	go func() { defer close(done); c.Feed().ServeHTTP(w, r); w.end() }()
	status := w.awaitStatus()
	return &reader{bufio.NewReader(w.reader), status, func() { cancel(); w.end(); <-done }}
}

// next returns the data of the next event, and fails if it has another name.
func (r *reader) next(t *testing.T, name string, data any) {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil || line != "event: "+name+"\n" {
		t.Fatalf("%v: got %q, want the event %s", err, line, name)
	}
	line, err = r.ReadString('\n')
	rest, found := strings.CutPrefix(line, "data: ")
	if err != nil || !found || json.Unmarshal([]byte(rest), data) != nil {
		t.Fatalf("%v: %q", err, line)
	}
	if line, _ = r.ReadString('\n'); line != "\n" {
		t.Fatalf("after an event: %q", line)
	}
}

// A shown is what tests read of a sample.
type shown struct {
	MS                                        int64
	Up                                        bool
	Connections, Messages, Deliveries, Outbox *float64
	Lag50, Lag99, Sockets, Gaps, Memory       *float64
	Causes                                    []struct {
		Kind, Cause string
		Total       uint64
		Rate        float64
	}
	Busiest []busyChannel
}

func value(f *float64) float64 {
	if f == nil {
		return math.NaN()
	}
	return *f
}

// All consoles that are open get the same sample, which is computed once. If no
// console is open, nothing is computed.
func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(stats.Stats)
		var computed atomic.Int64
		s.RedisMessages.Add(5)
		s.RedisUp.Store(true)
		s.Connections[protocol.WebSocket][protocol.V1ID].Add(3)
		c := New(Config{
			Stats: s, Version: "1.2.3", Settings: []Setting{{Name: "SIDECAST_CHANNELS", Value: "chat", FromEnv: true}},
			Gauges: Gauges{OutboxBytes: func() int64 { computed.Add(1); return 77 }},
		})
		time.Sleep(time.Minute)
		a := open(t, c)
		var first greeting
		if a.next(t, "hello", &first); first.Version != "1.2.3" || len(first.Settings) != 1 || first.Records {
			t.Errorf("the greeting is %+v", first)
		}
		time.Sleep(interval / 3)
		b := open(t, c)
		b.next(t, "hello", &first)
		s.RedisMessages.Add(100)
		s.Deliveries[protocol.V1ID].Add(300)
		s.Gaps[protocol.GapReasons()[0]].Add(4)
		s.Lag.Observe(200 * time.Microsecond)
		var of [2]shown
		for second := range 10 {
			for i, r := range []*reader{a, b} {
				r.next(t, "sample", &of[i])
			}
			if of[0].MS != of[1].MS || computed.Load() != int64(second+1) {
				t.Fatalf("second %d: samples of %d and %d ms, computed %d times", second, of[0].MS, of[1].MS, computed.Load())
			}
			want := map[bool]float64{true: 100}[second == 0]
			if m := of[0]; value(m.Messages) != want || value(m.Deliveries) != 3*want || value(m.Connections) != 3 || !m.Up || value(m.Outbox) != 77 || m.Sockets != nil {
				t.Errorf("second %d: %+v", second, m)
			}
			if lag := of[0].Lag50; second == 0 && (value(lag) < 1e-4 || value(lag) > 2.5e-4) || second > 0 && lag != nil {
				t.Errorf("second %d: lag %v", second, value(lag))
			}
			if second == 0 && (len(of[0].Causes) != 1 || of[0].Causes[0].Rate != 4) {
				t.Errorf("causes: %+v", of[0].Causes)
			}
		}
		a.close()
		b.close()
		time.Sleep(time.Hour)
		if computed.Load() != 10 {
			t.Errorf("%d samples were computed without a console", computed.Load()-10)
		}
		s.RedisMessages.Add(1e6) // before the console is opened again
		a = open(t, c)
		a.next(t, "hello", &first)
		if a.next(t, "sample", &of[0]); value(of[0].Messages) != 0 {
			t.Errorf("a new console shows %v messages per second", value(of[0].Messages))
		}
		a.close()
	})
}

// There is a limit on open consoles, and one that is closed makes room.
func TestMaxConsoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Config{Stats: new(stats.Stats)})
		var all []*reader
		for range maxConsoles {
			all = append(all, open(t, c))
		}
		more := open(t, c)
		text, _ := more.ReadString('\n')
		if more.status != http.StatusServiceUnavailable || !strings.Contains(text, "8 consoles of this relay are open already") {
			t.Errorf("one more: %d %s", more.status, text)
		}
		more.close()
		all[3].close()
		all[3] = open(t, c)
		var first greeting
		all[3].next(t, "hello", &first)
		for _, r := range all {
			r.close()
		}
		if c.feed.consoles != 0 || c.feed.records != nil {
			t.Errorf("%d consoles are open", c.feed.consoles)
		}
	})
}

// A console stays open for longer than the server gives a request to arrive.
func TestFeedOutlastsReadTimeout(t *testing.T) {
	server := httptest.NewUnstartedServer(New(Config{Stats: new(stats.Stats)}).Feed())
	server.Config.ReadTimeout = 100 * time.Millisecond
	server.Start()
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	r := &reader{Reader: bufio.NewReader(response.Body)}
	var first greeting
	var sample shown
	r.next(t, "hello", &first)
	r.next(t, "sample", &sample)
}
