package cli

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
)

// Mistakes in the options of --through are named, and no value is repeated that
// may contain a secret.
func TestThroughUsage(t *testing.T) {
	const url = "wss://app.example.com/ws"
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--through", "app.example.com"}, "--through: write it like wss://app.example.com/ws"},
		{[]string{"--through", url + "?token=secret"}, "--through: write it like wss://app.example.com/ws"},
		{[]string{"--token-file", "token"}, "--origin, --idle and --token-file are for --through: add the URL"},
		{[]string{"--idle", "3s"}, "--origin, --idle and --token-file are for --through: add the URL"},
		{[]string{"--through", url, "--origin", "www.example.com"}, "--origin: write it like https://www.example.com"},
		{[]string{"--through", url, "--idle", "-1s"}, "--idle: write a time up to 1h"},
		{[]string{"--through", url, "--channel", "a\nb"}, "--channel: not a valid channel name"},
	} {
		var out strings.Builder
		code := Main(t.Context(), Program{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out}, append([]string{"check"}, tt.args...))
		if code != exitConfig || !strings.HasPrefix(out.String(), "sidecast: "+tt.want) || strings.Contains(out.String(), "secret") {
			t.Errorf("%q: exit code %d, %q", tt.args, code, &out)
		}
	}
}

// Without any settings, --through checks a relay. A signal ends it at once, and
// it reports the idle connections.
func TestThroughInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be interrupted here")
	}
	relay := relaytest.Start(t, nil)
	relay.AwaitReady()
	// A relay without SIDECAST_CHANNELS would not start with this Redis.
	check := relaytest.Start(t, map[string]string{"SIDECAST_REDIS_URL": "redis://127.0.0.1:1"}, "check", "--through", "http://"+relay.Addr(), "--idle", "1h")
	check.AwaitLog(func(line string) bool { return line == "ok    event stream: begins at once" })
	check.Signal(os.Interrupt)
	if code := check.Wait(); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"ok    idle WebSocket: was open for ", "ok    idle event stream: was open for ", "sidecast: the check was interrupted\n"} {
		if !strings.Contains(check.Log(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
}
