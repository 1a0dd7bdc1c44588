package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// fakeRelay returns a server that answers like an admin listener, with these
// events. It ends the first stream of events after them, and calls again when the
// events are requested again.
func fakeRelay(t *testing.T, again func(), events ...string) *httptest.Server {
	var streams atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/explain" {
			fmt.Fprint(w, `{"channel":"chat\u001b[2J","redis_name":"chat","relayed":"live","says":[{"text":"it \u001b[2J is \u202e relayed"}]}`)
			return
		}
		if streams.Add(1) > 1 {
			again()
			return
		}
		for _, e := range events {
			fmt.Fprintf(w, "data: %s\n\n", e)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// What a relay sends does not control the terminal, and a stream that ends is
// followed again.
func TestTraceHostileEvents(t *testing.T) {
	for _, args := range [][]string{nil, {"--json"}} {
		ctx, cancel := context.WithCancel(t.Context())
		server := fakeRelay(t, cancel, `{"kind":"start"}`,
			`{"kind":"join","channel":"ch\u001b[2Jat","how":"character","user":"\u009b31m\u202e"}`,
			`{"kind":"dropped","reason":"\u001b]0;pwned\u0007"}`)
		var stdout, stderr bytes.Buffer
		code := Main(ctx, Program{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr},
			append(append([]string{"trace", "--relay", server.URL}, args...), "chat"))
		out := stdout.String()
		if code != exitOK || strings.ContainsAny(out+stderr.String(), "\x1b\x07\u009b\u202e") {
			t.Errorf("exit %d, %q, %q", code, out, stderr.String())
		}
		for _, want := range []string{"following what the relay does", "subscribes to ", "the relay ends the stream of events", "not followed: no embedded relay", "0 relayed"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s\nlacks %q", out, want)
			}
		}
		for line := range strings.Lines(out) {
			if len(args) > 0 && !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
	}
}

// If neither a relay nor a Redis can be followed, that is an error.
func TestTraceOfNothing(t *testing.T) {
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} { // a relay on this machine may run an embedded Redis
		t.Setenv(name, t.TempDir())
	}
	code, out, errs := run(t, "trace", "--relay", "http://127.0.0.1:1", "chat")
	if code != exitFailure || out != "" || !strings.Contains(errs, "no relay has answered, and there is no Redis to listen to") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}
