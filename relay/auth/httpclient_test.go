package auth

import (
	"net/http"
	"testing"
)

// TestNoProxyFromEnvironment checks that cookies never pass through a proxy
// from the environment.
func TestNoProxyFromEnvironment(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	if transport := newHTTPClient(1).Transport.(*http.Transport); transport.Proxy != nil {
		t.Error("requests may go through a proxy")
	}
}
