package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// A feed computes the events of all open consoles.
type feed struct {
	cfg *Config

	mu       sync.Mutex
	consoles int
	before   totals
	event    []byte    // the newest sample; nil until there is one since a console was opened
	records  *follower // nil if no console is open
}

// join counts a console that is opened. It reports false if there are too many.
func (f *feed) join(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.consoles == maxConsoles {
		return false
	}
	if f.consoles++; f.consoles == 1 {
		f.records = newFollower(f.cfg.BlackBox, now)
		f.records.read()
		f.before, f.event = readTotals(f.cfg.Stats, now), nil
	}
	return true
}

// leave counts a console that is closed.
func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.consoles--; f.consoles == 0 {
		f.records, f.event = nil, nil
	}
}

// next returns the newest sample as an event, which it computes if another
// console has not just done so.
func (f *feed) next(now time.Time) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.event != nil && now.Sub(f.before.at) < interval*9/10 {
		return f.event
	}
	after := readTotals(f.cfg.Stats, now)
	if after.at.Sub(f.before.at) <= 0 { // a second console in the moment in which the first was opened
		return nil
	}
	f.records.read()
	s := newSample(f.cfg, f.before, after)
	s.Busiest = f.records.busiest.top(topChannels, now)
	f.event = newEvent("sample", s)
	f.before = after
	return f.event
}

// incidentsAfter returns an event with the kept incidents after the n-th one, or
// nil if there are none, and how many there were.
func (f *feed) incidentsAfter(n uint64) (event []byte, total uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if list := f.records.after(n); len(list) > 0 {
		event = newEvent("incidents", list)
	}
	return event, f.records.total
}

// A greeting is the first event: what does not change while the relay runs.
type greeting struct {
	Version  string    `json:"version"`
	Interval int64     `json:"interval"` // between two samples, in milliseconds
	Settings []Setting `json:"settings"`
	// Records is whether the relay has a black box.
	Records bool `json:"records"`
}

// newEvent returns an event of the stream.
func newEvent(name string, data any) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\ndata: ", name)
	if err := json.NewEncoder(&b).Encode(data); err != nil {
		panic(err) // only for types that JSON does not have
	}
	b.WriteByte('\n') // after the encoder's own
	return b.Bytes()
}

// serveFeed serves the events to one console until it is closed.
func (c *Console) serveFeed(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "only GET is allowed here", http.StatusMethodNotAllowed)
		return
	}
	if !c.feed.join(time.Now()) {
		w.Header().Set("Retry-After", "10")
		http.Error(w, fmt.Sprintf("%d consoles of this relay are open already: close one", maxConsoles), http.StatusServiceUnavailable)
		return
	}
	defer c.feed.leave()
	out := &eventWriter{w: w, controller: http.NewResponseController(w)}
	out.begin()
	out.write(newEvent("hello", greeting{
		Version: c.cfg.Version, Interval: interval.Milliseconds(), Settings: c.cfg.Settings, Records: c.cfg.BlackBox != nil,
	}))
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var seen uint64
	for out.err == nil {
		var news []byte
		if news, seen = c.feed.incidentsAfter(seen); news != nil {
			out.write(news)
		}
		out.flush()
		select {
		case <-r.Context().Done():
			return
		case now := <-ticker.C:
			out.write(c.feed.next(now))
		}
	}
}

// An eventWriter writes an event stream. After an error it does nothing.
type eventWriter struct {
	w          http.ResponseWriter
	controller *http.ResponseController
	err        error
}

// begin sets the headers.
func (e *eventWriter) begin() {
	h := e.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold the events back
}

func (e *eventWriter) write(event []byte) {
	if e.err == nil {
		_ = e.controller.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, e.err = e.w.Write(event)
	}
}

func (e *eventWriter) flush() {
	if e.err == nil {
		e.err = e.controller.Flush()
	}
}
