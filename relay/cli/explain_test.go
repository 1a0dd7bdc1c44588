package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// An answer of another program, or of a relay whose channels have hostile names,
// does not control the terminal, and says what is wrong.
func TestExplainHostileAnswers(t *testing.T) {
	for _, tt := range []struct {
		comment string
		status  int
		body    string
		want    string
	}{
		{"hostile sentences", 200, `{"channel":"a\u001b[2J","says":[{"text":"b\u001b[2J\u202ec","do":"d\u009be"}]}`, `b\x1b[2J`},
		{"no JSON", 200, "<html>\x1b[2J", "does not answer like a relay"},
		{"another JSON", 200, `{}`, "does not answer like a relay"},
		{"the token is missing", 401, "this request needs the token \x1b[2J\nmore", "401 Unauthorized: this request needs the token"},
		{"an older relay", 404, "not found", "is this the admin listener of a relay of this version?"},
		{"a redirect", 302, "", "302"},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/explain" || r.URL.Query().Get("channel") != "a b" {
					t.Errorf("the request is %s", r.URL)
				}
				w.Header().Set("Location", "http://127.0.0.1:1/")
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer server.Close()
			for _, args := range [][]string{{"explain"}, {"explain", "--json"}} {
				_, out, errs := run(t, append(args, "--relay", server.URL, "a b")...)
				if strings.ContainsAny(out+errs, "\x1b\u202e\u009b") {
					t.Errorf("%v: the output controls the terminal: %q %q", args, out, errs)
				}
				if len(args) == 1 && !strings.Contains(out, tt.want) {
					t.Errorf("%q lacks %s", out, tt.want)
				}
				if len(args) == 2 && !json.Valid([]byte(out)) {
					t.Errorf("no JSON: %q", out)
				}
			}
		})
	}
}

// The token is sent to the relay and to no proxy.
func TestExplainSendsToken(t *testing.T) {
	const token = "a token of the operator"
	t.Setenv("SIDECAST_ADMIN_TOKEN", token)
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		_, _ = w.Write([]byte(`{"channel":"a","says":[{"text":"relayed"}]}`))
	}))
	defer server.Close()
	code, out, errs := run(t, "explain", "--relay", server.URL, "a")
	if code != exitOK || got != "Bearer "+token || strings.Contains(out+errs, token) {
		t.Errorf("exit %d, the header is %q; %s %s", code, got, out, errs)
	}
}

// Whatever a text contains, its JSON means the same and has nothing that
// controls a terminal.
func TestPrintJSON(t *testing.T) {
	for _, text := range []string{"a\x1b[2J\n\t", "\u202e\u2028\ufeff", "\u009b\x7f", "\"\\<>&é", "\ufffd", "\U0001F600"} {
		var out bytes.Buffer
		if err := printJSON(&out, text); err != nil {
			t.Fatal(err)
		}
		line, _ := strings.CutSuffix(out.String(), "\n")
		var got string
		if err := json.Unmarshal([]byte(line), &got); err != nil || got != text {
			t.Errorf("%q is %s: %v", text, line, err)
		}
		if strings.ContainsAny(line, "\x1b\n\u202e\u2028\ufeff\u009b\x7f") {
			t.Errorf("%q is printed as %q", text, line)
		}
	}
}
