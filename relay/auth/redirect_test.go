package auth

import (
	"net/http"
	"strings"
	"testing"

	"sidecast/relay/protocol"
)

// TestRedirects checks that a redirect to the same path is reported as a wrong
// URL, and that any other redirect means that the user is not logged in.
func TestRedirects(t *testing.T) {
	for location, want := range map[string]string{
		"https://HOST/live-auth?x=1":                   "the URL redirects to https",
		"http://other.example/live-auth?x=1":           "the URL redirects to another host",
		"//127.0.0.1:1/live-auth?x=1":                  "the URL redirects to another port",
		"/live-auth/?x=1":                              "the URL redirects to a final slash",
		"/live-auth?x=1":                               "the URL redirects to itself",
		"https://other.example/live-auth/?x=1":         "the URL redirects to https and another host and a final slash",
		"/login":                                       "",
		"/login?next=/live-auth?x=1":                   "",
		"/LIVE-AUTH?x=1":                               "",
		"/live-auth/login?x=1":                         "",
		"/live-auth?x=1&login=1":                       "",
		"https://login.example/?next=/live-auth%3Fx=1": "",
		"": "",
	} {
		a := newTestApp(t, func(w http.ResponseWriter, r *http.Request) {
			if location != "" {
				w.Header().Set("Location", strings.Replace(location, "HOST", r.Host, 1))
			}
			w.WriteHeader(http.StatusMovedPermanently)
		}, func(c *ApplicationConfig) {
			c.LoginURL += "live-auth?x=1"
			c.ChannelURL = c.LoginURL
		})
		id, code := a.Login(t.Context(), request("Cookie", "s=1"))
		if id != nil || (code == protocol.CodeUnavailable) != (want != "") || want == "" && code != protocol.CodeOK {
			t.Errorf("%q: %v, %v", location, id, code)
		}
		if want == "" && a.log.String() != "" || !strings.Contains(a.log.String(), want) || strings.Contains(a.log.String(), "x=1") {
			t.Errorf("%q: logged %q, want %q", location, a.log, want)
		}
		if _, code := a.ChannelAuthorizer(request("Cookie", "s=1"), nil)(t.Context(), "", "order:1"); code != protocol.CodeUnavailable {
			t.Errorf("%q opens a channel: %v", location, code)
		}
	}
}

// TestFinalSlash checks a redirect of a URL that ends with a slash.
func TestFinalSlash(t *testing.T) {
	a := newTestApp(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/live-auth", http.StatusFound)
	}, func(c *ApplicationConfig) { c.LoginURL += "live-auth/" })
	if _, code := a.Login(t.Context(), request("Cookie", "s=1")); code != protocol.CodeUnavailable ||
		!strings.Contains(a.log.String(), "the URL redirects to no final slash") {
		t.Errorf("%v, logged %q", code, a.log)
	}
}
