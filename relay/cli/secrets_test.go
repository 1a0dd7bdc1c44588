package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sidecast/relay/relaytest/redistest"
)

// TestNoSecretsInErrors uses a Redis that repeats the arguments of commands that
// it does not know, and URLs with a token or a password.
func TestNoSecretsInErrors(t *testing.T) {
	server := redistest.Start(t, "--rename-command", "AUTH", "", "--rename-command", "HELLO", "",
		"--rename-command", "PUBLISH", "", "--rename-command", "XADD", "")
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for name, value := range map[string]string{"CHANNELS": "chat", "DURABLE_CHANNELS": "order", "PUBLIC_CHANNELS": "*"} {
		t.Setenv("SIDECAST_"+name, value)
	}
	host := web.Listener.Addr().String()
	for _, tt := range []struct {
		url  string // of Redis
		args []string
		want string
	}{
		{"redis://relay:hunter2@" + server.Addr, []string{"publish", "chat", "x"}, "publishing to Redis: "},
		{"redis://relay:hunter2@" + server.Addr, []string{"publish", "order", "x"}, "adding to the stream: "},
		{server.URL(), []string{"publish", "chat", "hunter2"}, "unknown command"},
		{server.URL(), []string{"publish", "order", "hunter2"}, "unknown command"},
		{server.URL(), []string{"tail", "--url", "ws://user:hunter2@" + host + "/ws?token=hunter2", "chat"}, "ws://" + host + "/ws"},
		{server.URL(), []string{"tail", "--url", "http://user:hunter2@" + host + "/?token=hunter2", "chat"}, "write it like ws://"},
		{server.URL(), []string{"tail", "--url", "ws://user:hunter2@%zz/ws", "chat"}, "write it like ws://"},
	} {
		t.Setenv("SIDECAST_REDIS_URL", tt.url)
		code, out, errs := run(t, tt.args...)
		if code == exitOK || !strings.Contains(errs, tt.want) || strings.Contains(out+errs, "hunter2") {
			t.Errorf("%.9q: exit %d, %s%s", tt.args, code, out, errs)
		}
	}
}
