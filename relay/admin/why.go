package admin

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// whyWait is how long a question waits for those before it.
	whyWait = 10 * time.Second
	// whyWriteTime is how long a client may take to read its answer.
	whyWriteTime = 30 * time.Second
	// maxWhyTime bounds the time that a question is about.
	maxWhyTime = 2 * time.Hour
	// maxZone bounds time zones, in seconds.
	maxZone = 24 * 60 * 60
	// maxWhyText bounds each text of a question, in bytes.
	maxWhyText = 1 << 10
)

// A WhyQuestion asks which sessions received the messages on a channel, and why
// others did not. The answer has times in the zone of From.
type WhyQuestion struct {
	Channel  string
	From, To time.Time
	User     string // "" is every user, and clients without one
	Session  string // "" is every session
}

// A whyHandler answers /why. To answer takes a moment of one processor, and
// memory, so there is one answer at a time.
type whyHandler struct {
	ask  func(WhyQuestion, io.Writer) error // nil: the relay keeps no records
	turn chan struct{}
}

func newWhyHandler(ask func(WhyQuestion, io.Writer) error) http.Handler {
	return &whyHandler{ask: ask, turn: make(chan struct{}, 1)}
}

func (h *whyHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.ask == nil {
		http.Error(w, "the relay keeps no records: unset SIDECAST_BLACKBOX_BYTES and restart it", http.StatusConflict)
		return
	}
	q, problem := parseWhy(r.URL.RawQuery)
	if problem != "" {
		http.Error(w, problem, http.StatusBadRequest)
		return
	}
	timeout := time.NewTimer(whyWait)
	defer timeout.Stop()
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-timeout.C:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "the relay is answering another question: try again", http.StatusServiceUnavailable)
		return
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	to := http.NewResponseController(w)
	if err := h.ask(q, &answerWriter{w: w, to: to}); err == nil { // otherwise the client has gone
		_ = to.Flush()
	}
	_ = to.SetWriteDeadline(time.Time{}) // of the next answer
}

// parseWhy returns the question in a query, or the mistake in it.
func parseWhy(query string) (q WhyQuestion, problem string) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return q, "the query cannot be read: percent-encode the name of the channel"
	}
	q = WhyQuestion{Channel: values.Get("channel"), User: values.Get("user"), Session: values.Get("session")}
	var ok, valid bool
	zone, bad := strconv.Atoi(values.Get("zone"))
	q.From, ok = parseMillis(values.Get("from"))
	q.To, valid = parseMillis(values.Get("to"))
	switch {
	case q.Channel == "":
		return q, "name the channel, like /why?channel=chat&from=1760000000000&to=1760000004000"
	case max(len(q.Channel), len(q.User), len(q.Session)) > maxWhyText:
		return q, fmt.Sprintf("a name is longer than %d bytes", maxWhyText)
	case !ok || !valid:
		return q, "from and to must be times, in milliseconds since 1970"
	case zone < -maxZone || zone > maxZone || bad != nil && values.Get("zone") != "":
		return q, "zone must be a time zone, in seconds east of UTC"
	case q.To.Before(q.From):
		return q, "to must not be before from"
	case q.To.Sub(q.From) > maxWhyTime:
		return q, fmt.Sprintf("from and to must not be more than %v apart", maxWhyTime)
	}
	location := time.FixedZone("", zone)
	q.From, q.To = q.From.In(location), q.To.In(location)
	return q, ""
}

func parseMillis(text string) (time.Time, bool) {
	ms, err := strconv.ParseInt(text, 10, 64)
	return time.UnixMilli(ms), err == nil && ms >= 0 && ms < 1<<53
}

// An answerWriter writes to a client, which has to read the answer in time: until
// then, others cannot ask.
type answerWriter struct {
	w     io.Writer
	to    *http.ResponseController
	begun bool
}

func (a *answerWriter) Write(p []byte) (int, error) {
	if !a.begun {
		a.begun = true
		_ = a.to.SetWriteDeadline(time.Now().Add(whyWriteTime)) // recorders in tests have no deadlines
	}
	return a.w.Write(p)
}
