package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A pass is valid for its name, and at the relay that has invented it.
func TestPasses(t *testing.T) {
	names, others := NewNames(), NewNames()
	pass := names.invent()
	user, _ := names.User(pass)
	if user == "" || !strings.HasPrefix(pass, "demo."+user+".") {
		t.Fatalf("%q is the pass of %q", pass, user)
	}
	_, signature, _ := strings.Cut(strings.TrimPrefix(pass, "demo."), ".")
	for _, tt := range []struct {
		comment, text string
		isPass        bool
	}{
		{"a pass of another relay", others.invent(), true},
		{"another name", "demo.admin." + signature, true},
		{"a name that begins alike", "demo." + user + "0." + signature, true},
		{"no signature", "demo." + user, true},
		{"an empty signature", "demo." + user + ".", true},
		{"a part of the signature", pass[:len(pass)-1], true},
		{"more after the signature", pass + "A", true},
		{"an empty name", "demo.." + signature, true},
		{"only the beginning", "demo.", true},
		{"a token", "eyJhbGciOiJIUzI1NiJ9.e30.x", false},
		{"nothing", "", false},
	} {
		if user, isPass := names.User(tt.text); user != "" || isPass != tt.isPass {
			t.Errorf("%s: user %q, a pass: %v", tt.comment, user, isPass)
		}
	}
	if user, isPass := (*Names)(nil).User(pass); user != "" || isPass {
		t.Errorf("a relay without names accepts %q", user)
	}
}

// Only the page itself gets a name from a browser, and nothing stores it.
func TestNamesAreForThePage(t *testing.T) {
	for _, tt := range []struct {
		comment, method, site string
		names                 *Names
		status                int
	}{
		{"the page", "GET", "same-origin", NewNames(), 200},
		{"a program that is not a browser", "GET", "", NewNames(), 200},
		{"another site", "GET", "cross-site", NewNames(), 403},
		{"another port of this machine", "GET", "same-site", NewNames(), 403},
		{"the address bar", "GET", "none", NewNames(), 403},
		{"another method", "POST", "same-origin", NewNames(), 404},
		{"a relay that invents none", "GET", "same-origin", nil, 404},
	} {
		request := httptest.NewRequest(tt.method, "http://localhost/demo/name", nil)
		request.Header.Set("Sec-Fetch-Site", tt.site)
		answer := httptest.NewRecorder()
		Demo(Page{Names: tt.names}).ServeHTTP(answer, request)
		if answer.Code != tt.status {
			t.Errorf("%s: status %d, want %d", tt.comment, answer.Code, tt.status)
		}
		if answer.Code == http.StatusOK {
			if user, _ := tt.names.User(answer.Body.String()); user == "" || answer.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %q, %v", tt.comment, answer.Body, answer.Header())
			}
		}
	}
}
