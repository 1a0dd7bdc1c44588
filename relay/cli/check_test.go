package cli

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sidecast/config"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// settings loads the settings of "NAME=value" entries, without a Redis.
func settings(t *testing.T, entries ...string) *config.Config {
	t.Helper()
	for _, entry := range append([]string{"REDIS_URL=redis://127.0.0.1:1", "CHANNELS=chat:*", "PUBLIC_CHANNELS=chat:*"}, entries...) {
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv("SIDECAST_"+name, value)
	}
	cfg, _, err := config.Load()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// lines returns findings as check prints them.
func lines(findings []source.Finding) string {
	var out strings.Builder
	_ = report(&out, findings)
	return out.String()
}

// The limit on files is compared with that on connections. It is the limit of
// this process: a test cannot lower its own without harm to the others.
func TestFileLimit(t *testing.T) {
	for _, tt := range []struct {
		why                       string
		limit, connections, files int
		want                      string
	}{
		{"the default", 0, 50_000, 1 << 20, "ok    file descriptors: room for 50000 connections\n"},
		{"a usual limit of a shell", 0, 819, 1024, "warn  file descriptors: only 819 connections fit: 1024 files may be open\n      raise the limit"},
		{"enough files for the setting", 5000, 5000, 8192, "ok    file descriptors: room for 5000 connections\n"},
		{"a low setting", 200, 200, 1 << 20, "ok    file descriptors: room for 200 connections\n"},
		{"too few files for the setting", 5000, 900, 1024, "warn  file descriptors: SIDECAST_MAX_CONNECTIONS is 5000, but only 1024 files may be open; " +
			"the relay accepts 900 connections\n      raise the limit (ulimit -n, LimitNOFILE=, nofile) or lower SIDECAST_MAX_CONNECTIONS\n"},
		{"a system without a limit", 70_000, 70_000, 0, "ok    file descriptors: room for 70000 connections\n"},
	} {
		if got := lines([]source.Finding{fileLimitFinding(tt.limit, tt.connections, tt.files)}); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.why, got, tt.want)
		}
	}
}

// The exit code is 0 if a relay would work and 1 if not, and the last line is
// about a message through Redis.
func TestCheckExits(t *testing.T) {
	server := redistest.Start(t)
	keys := httptest.NewServer(http.NotFoundHandler())
	defer keys.Close()
	for name, value := range map[string]string{
		"CHANNELS": "chat", "PUBLIC_CHANNELS": "*", "REDIS_URL": server.URL(), "LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": "127.0.0.1:0",
	} {
		t.Setenv("SIDECAST_"+name, value)
	}
	const arrived = "ok    self-test: a message that was published to sidecast:check arrived after "
	for _, tt := range []struct {
		why, entry string
		code       int
		want, last string
	}{
		{"all is well", "", exitOK, "ok    version: Redis ", arrived},
		{"keys that do not exist", "JWT_JWKS_URL=" + keys.URL, exitFailure, "fail  SIDECAST_JWT_JWKS_URL: HTTP status 404\n" +
			"      check that the URL serves a set of keys (JWKS); until then, no token is accepted\n", arrived},
		{"an application that does not run", "AUTH_URL=http://" + redistest.FreeAddr(t), exitFailure,
			"fail  SIDECAST_AUTH_URL: nothing listens at this address\n", arrived},
		{"no Redis", "REDIS_URL=redis://" + redistest.FreeAddr(t), exitFailure, "ok    SIDECAST_LISTEN: ", "fail  server: nothing listens at this address"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			if name, value, ok := strings.Cut(tt.entry, "="); ok {
				t.Setenv("SIDECAST_"+name, value)
			}
			code, out, errs := run(t, "check")
			all := "\n" + out
			last := all[max(strings.LastIndex(all, "\nok "), strings.LastIndex(all, "\nfail "), strings.LastIndex(all, "\nwarn "))+1:]
			if code != tt.code || !strings.Contains(all, "\n"+tt.want) || !strings.HasPrefix(last, tt.last) {
				t.Errorf("exit %d\n%s%s\nwant %d, %q and at the end %q", code, out, errs, tt.code, tt.want, tt.last)
			}
		})
	}
}

// Patterns that Redis accepts and that match nothing of what their author meant
// get no green light.
func TestCheckPatterns(t *testing.T) {
	for _, tt := range []struct{ set, want string }{
		{"CHANNELS=chat:* news", `warn  SIDECAST_CHANNELS: "chat:* news" has a blank`},
		{"CHANNELS=chat:*;news", `warn  SIDECAST_CHANNELS: "chat:*;news" has a semicolon`},
		{`CHANNELS=[chat:*]`, `warn  SIDECAST_CHANNELS: "[chat:*]" looks like JSON`},
		{`DURABLE_CHANNELS=["order:*"]`, `warn  SIDECAST_DURABLE_CHANNELS: "[\"order:*\"]" looks like JSON`},
		{"CHANNELS=chat:.*", `warn  SIDECAST_CHANNELS: "chat:.*" looks like a regular expression`},
		{"CHANNELS=.*", `warn  SIDECAST_CHANNELS: ".*" looks like a regular expression`},
		{"CHANNELS=^chat:*", `warn  SIDECAST_CHANNELS: "^chat:*" looks like a regular expression`},
		{`CHANNELS=chat:\d`, `warn  SIDECAST_CHANNELS: "chat:\\d" looks like a regular expression`},
		{"CHANNELS=chat.*", `ok    SIDECAST_CHANNELS: "chat.*" matches only names with a dot, such as chat.1`},
		{"PUBLIC_CHANNELS=news", `fail  SIDECAST_PUBLIC_CHANNELS: "news" matches no channel that is relayed`},
		{"PUBLIC_CHANNELS=news,*:1", `warn  SIDECAST_PUBLIC_CHANNELS: "news" matches no channel that is relayed`},
		{"PUBLISH_CHANNELS=chat", `warn  SIDECAST_PUBLISH_CHANNELS: "chat" matches no channel that is relayed`},
		{"PRESENCE_CHANNELS=chat:*,room:*", `warn  SIDECAST_PRESENCE_CHANNELS: "room:*" matches no channel that is relayed`},
		{"UNHEARD=user:*,chat:*", `warn  SIDECAST_UNHEARD: "user:*" matches no channel that is relayed`},
		{"UNHEARD=chat:.*", `warn  SIDECAST_UNHEARD: "chat:.*" looks like a regular expression`},
		{"REDIS_URL=redis://127.0.0.1:1/2", `warn  SIDECAST_REDIS_URL: database 2 has no effect on PUBLISH`},
		{"REDIS_URL=redis://127.0.0.1:1/0", ""},
		{"PUBLISH_CHANNELS=chat:lobby", ""},
		{"CHANNELS=*", ""},
	} {
		t.Run(tt.set, func(t *testing.T) {
			got := lines(checkPatterns(settings(t, tt.set)))
			if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	t.Run("a prefix that is repeated", func(t *testing.T) {
		got := lines(checkPatterns(settings(t, "CHANNEL_PREFIX=app_", "CHANNELS=app_chat:*,chat:*")))
		want := "warn  SIDECAST_CHANNELS: \"app_chat:*\" begins with SIDECAST_CHANNEL_PREFIX, so in Redis it is app_app_chat:*\n" +
			"      write it without the prefix: chat:*\n"
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
	t.Run("public channels that a login can open", func(t *testing.T) {
		got := lines(checkPatterns(settings(t, "PUBLIC_CHANNELS=news", "AUTH_URL=http://app")))
		if !strings.HasPrefix(got, "warn") {
			t.Errorf("%q", got)
		}
	})
}

// A port that another program uses gets no green light, and one that a relay
// uses does.
func TestCheckPorts(t *testing.T) {
	serve := func(handler http.HandlerFunc) string {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := silent.Addr().String()
	silent.Close()
	relay := serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte("ok\n"))
	})
	other := serve(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	for _, tt := range []struct {
		listen, want string
	}{
		{free, "ok    SIDECAST_LISTEN: nothing listens on " + free},
		{relay, "ok    SIDECAST_LISTEN: a relay answers on " + relay},
		{other, "fail  SIDECAST_LISTEN: a program that does not answer like Sidecast listens on " + other},
		{"127.0.0.1:0", "ok    SIDECAST_LISTEN: any free port"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			got := lines(checkPorts(t.Context(), settings(t, "LISTEN="+tt.listen, "ADMIN_LISTEN=127.0.0.1:0")))
			if !strings.HasPrefix(got, tt.want) || !strings.HasSuffix(got, "ok    SIDECAST_ADMIN_LISTEN: any free port\n") {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	t.Run("the admin listener", func(t *testing.T) {
		got := lines(checkPorts(t.Context(), settings(t, "LISTEN=127.0.0.1:0", "ADMIN_LISTEN="+other)))
		if !strings.Contains(got, "fail  SIDECAST_ADMIN_LISTEN: ") {
			t.Errorf("%q", got)
		}
	})
}
