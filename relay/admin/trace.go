package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"sidecast/relay/trace"
)

const (
	// maxTraces limits how many clients follow a channel at a time.
	maxTraces = 8
	// tracePoll is how often the records of the relay are read.
	tracePoll = 250 * time.Millisecond
	// traceHeartbeat is how often something is sent at least.
	traceHeartbeat = 5 * time.Second
	// traceWrite is how long a client may accept no bytes.
	traceWrite = 10 * time.Second
)

// A Tracer returns a follower of a channel, or nil if the relay keeps no
// records.
type Tracer func(channel string) *trace.Follower

// traceHandler answers /trace?channel=NAME with a stream of events: what happens
// in the relay that concerns the channel, until the client ends the request.
func traceHandler(follow Tracer) http.HandlerFunc {
	places := make(chan struct{}, maxTraces)
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet { // no write to a client that takes no body fails
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "only GET is allowed here", http.StatusMethodNotAllowed)
			return
		}
		channel, problem := oneChannel(r.URL.RawQuery)
		if problem != "" {
			http.Error(w, problem, http.StatusBadRequest)
			return
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			http.Error(w, fmt.Sprintf("%d channels are followed already: end one of the other commands", maxTraces), http.StatusServiceUnavailable)
			return
		}
		f := follow(channel)
		if f == nil {
			http.Error(w, "the relay keeps no records: unset SIDECAST_BLACKBOX_BYTES and restart it", http.StatusConflict)
			return
		}
		streamEvents(w, r, f)
	}
}

// streamEvents sends events until the request ends or the client reads nothing.
func streamEvents(w http.ResponseWriter, r *http.Request, f *trace.Follower) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	control := http.NewResponseController(w)
	send := func(events ...trace.Event) bool {
		var block []byte
		for _, e := range events {
			text, err := json.Marshal(e)
			if err != nil {
				return false
			}
			block = append(append(append(block, "data: "...), text...), "\n\n"...)
		}
		if len(events) == 0 {
			block = []byte(":\n\n")
		}
		// Not every ResponseWriter of a test has deadlines.
		_ = control.SetWriteDeadline(time.Now().Add(traceWrite))
		_, err := w.Write(block)
		return err == nil && control.Flush() == nil
	}
	if !send(trace.Event{Kind: trace.EventStart, At: time.Now()}) {
		return
	}
	ticker := time.NewTicker(tracePoll)
	defer ticker.Stop()
	for last := time.Now(); ; {
		select {
		case <-r.Context().Done():
			return
		case now := <-ticker.C:
			events := f.Poll()
			if len(events) == 0 && now.Sub(last) < traceHeartbeat {
				continue
			}
			if last = now; !send(events...) {
				return
			}
		}
	}
}
