package web

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"sidecast/relay/relaytest/redistest"
)

func TestClientFiles(t *testing.T) {
	const script, types = "text/javascript; charset=utf-8", "application/typescript; charset=utf-8"
	want := map[string]string{
		"sidecast.js": script, "sidecast.mjs": script, "sidecast.d.ts": types,
		"sidecast-sse.mjs": script, "sidecast-share.mjs": script, "sidecast-extra.mjs": script, "sidecast-sse.d.ts": types,
		"sidecast-echo.mjs": script, "sidecast-echo.js": script, "sidecast-echo.d.ts": types,
	}
	handlers := Client()
	for name, contentType := range want {
		handler := handlers[name]
		if handler == nil {
			t.Errorf("%s is not served", name)
			continue
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost:8080/"+name, nil))
		for header, want := range map[string]string{
			"Content-Type": contentType, "Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin",
			"X-Content-Type-Options": "nosniff",
		} {
			if got := w.Header().Get(header); w.Code != 200 || got != want {
				t.Errorf("%s: %d, %s: %q, want %q", name, w.Code, header, got, want)
			}
		}
		again := httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost:8080/"+name, nil)
		again.Header.Set("If-None-Match", w.Header().Get("Etag"))
		w = httptest.NewRecorder()
		if handler.ServeHTTP(w, again); w.Code != 304 {
			t.Errorf("%s: a conditional request returned %d, want 304", name, w.Code)
		}
	}
	for name := range handlers {
		if want[name] == "" {
			t.Errorf("%s is served", name)
		}
	}
}

// The tests of the client that need no relay are written for Node.
func TestClientInNode(t *testing.T) {
	redistest.Require(t, "node", "nodejs")
	tests, err := filepath.Glob("client/test/*.test.mjs")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "node", slices.Concat([]string{"--test"}, tests)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return v == "NODE_OPTIONS" })
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}
