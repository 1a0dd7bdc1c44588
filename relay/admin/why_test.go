package admin

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// getWhy returns the answer of a handler to a query.
func getWhy(t *testing.T, h http.Handler, query string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/why?"+query, nil))
	return w
}

// A question reaches the records as it was asked, and the answer is theirs.
func TestWhy(t *testing.T) {
	var got WhyQuestion
	h := newWhyHandler(func(q WhyQuestion, w io.Writer) error {
		got = q
		_, err := io.WriteString(w, "{\"result\":\"sent\"}\n")
		return err
	})
	want := WhyQuestion{
		Channel: "order:7&x=\x00\xff", From: time.UnixMilli(1760000000000).UTC(), To: time.UnixMilli(1760000004000).UTC(), User: "42 é", Session: "abc",
	}
	w := getWhy(t, h, url.Values{
		"channel": {want.Channel}, "zone": {"3600"}, "from": {"1760000000000"}, "to": {"1760000004000"}, "user": {want.User}, "session": {want.Session},
	}.Encode())
	_, zone := got.From.Zone()
	if got.From, got.To = got.From.UTC(), got.To.UTC(); got != want || zone != 3600 {
		t.Errorf("the question is %+v with zone %d, want %+v", got, zone, want)
	}
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/x-ndjson" || w.Body.String() != "{\"result\":\"sent\"}\n" {
		t.Errorf("the answer is %d %v %s", w.Code, w.Header(), w.Body)
	}
}

// A question that cannot be answered is rejected with what is wrong with it.
func TestWhyRejects(t *testing.T) {
	h := newWhyHandler(func(WhyQuestion, io.Writer) error { return errors.New("asked") })
	long := strings.Repeat("x", maxWhyText+1)
	for query, want := range map[string]string{
		"":                                      "name the channel",
		"channel=&from=1&to=2":                  "name the channel",
		"channel=a":                             "must be times",
		"channel=a&from=1":                      "must be times",
		"channel=a&from=1&to=-2":                "must be times",
		"channel=a&from=1&to=99999999999999999": "must be times",
		"channel=a&from=10:42&to=2":             "must be times",
		"channel=a&from=2&to=1":                 "must not be before",
		"channel=a&from=0&to=7200001":           "apart",
		"channel=a&from=1&to=2&zone=CET":        "time zone",
		"channel=a&from=1&to=2&zone=90000":      "time zone",
		"channel=%zz&from=1&to=2":               "percent-encode",
		"channel=a;b&from=1&to=2":               "percent-encode",
		"channel=" + long + "&from=1&to=2":      "longer than",
		"channel=a&from=1&to=2&user=" + long:    "longer than",
	} {
		if w := getWhy(t, h, query); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%.60s: %d %s, want 400 and %q", query, w.Code, w.Body, want)
		}
	}
	if w := getWhy(t, newWhyHandler(nil), "channel=a&from=1&to=2"); w.Code != http.StatusConflict ||
		!strings.Contains(w.Body.String(), "SIDECAST_BLACKBOX_BYTES") {
		t.Errorf("without records: %d %s", w.Code, w.Body)
	}
}

// There is one answer at a time: the next question waits for it, but not for
// ever.
func TestWhyOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, asked := make(chan struct{}), 0
		h := newWhyHandler(func(WhyQuestion, io.Writer) error {
			asked++
			<-release
			return nil
		})
		codes := make(chan int, 3)
		ask := func() { codes <- getWhy(t, h, "channel=a&from=1&to=2").Code }
		go ask()
		synctest.Wait()
		go ask()
		time.Sleep(whyWait - time.Second)
		go ask()
		synctest.Wait()
		if asked != 1 || len(codes) != 0 {
			t.Errorf("%d questions are being answered, %d were", asked, len(codes))
		}
		time.Sleep(2 * time.Second) // the second question gives up
		synctest.Wait()
		if len(codes) != 1 || <-codes != http.StatusServiceUnavailable {
			t.Error("a question that has waited too long is not rejected")
		}
		close(release)
		synctest.Wait()
		if asked != 2 || <-codes != http.StatusOK || <-codes != http.StatusOK {
			t.Errorf("%d questions were answered", asked)
		}
	})
}
