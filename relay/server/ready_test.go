package server

import (
	"net/http/httptest"
	"testing"

	"sidecast/relay/stats"
)

// Probes answer why the relay is not ready.
func TestReadySaysWhyNot(t *testing.T) {
	for _, test := range []struct {
		target                  string
		draining, ready, up, on bool
		want                    string
	}{
		{"/readyz", false, true, true, false, "ok"},
		{"/readyz", false, true, false, false, "ok"},
		{"/readyz", false, false, false, false, "not ready: Redis has not confirmed all subscriptions yet; see the log, or run `sidecast check`"},
		{"/readyz?redis=1", false, true, false, false, "not ready: the connection to Redis is lost"},
		{"/readyz", false, true, false, true, "not ready: the connection to Redis is lost"},
		{"/readyz?redis=1", false, true, true, true, "ok"},
		{"/readyz", true, true, true, false, "not ready: the relay is stopping"},
		{"/readyz?redis=1", true, false, false, true, "not ready: the relay is stopping"},
	} {
		counters := new(stats.Stats)
		counters.Draining.Store(test.draining)
		h := newPublicHandler(&Config{
			Stats: counters, ReadyNeedsRedis: test.on,
			Ready: func() bool { return test.ready }, Up: func() bool { return test.up },
		})
		w := httptest.NewRecorder()
		h.ready(w, httptest.NewRequest("GET", test.target, nil))
		want := 200
		if test.want != "ok" {
			want = 503
		}
		if got := w.Body.String(); w.Code != want || got != test.want+"\n" {
			t.Errorf("%+v: %d %q", test, w.Code, got)
		}
	}
}
