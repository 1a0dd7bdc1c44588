package through_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/through"
)

// A token logs in to both transports. Without it, or with a wrong one, it is not
// the proxy that is blamed.
func TestLogin(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	env := map[string]string{
		"SIDECAST_REDIS_URL": redis.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_JWT_SECRET": "a secret of at least 32 bytes, for tokens",
	}
	relay := relaytest.Start(t, env)
	relay.AwaitReady()
	sign := relaytest.Start(t, env, "token", "--user", "42", "--channel", "mine")
	if code := sign.Wait(); code != 0 {
		t.Fatalf("signing a token: exit code %d", code)
	}
	token := strings.TrimSpace(sign.Log())
	for _, tt := range []struct {
		comment string
		through.Config
		wants []string
	}{
		{"a token", through.Config{Token: token, Channel: "mine"}, []string{`ok WebSocket: works: `, `, as user "42"`, "ok event stream: begins at once"}},
		{"no right", through.Config{Token: token, Channel: "other"}, []string{`warn event stream: reaches the relay, which refuses the channel "other" to this client (403)`, "--token-file"}},
		{"no login", through.Config{Channel: "mine"}, []string{"ok WebSocket: works", `warn event stream: reaches the relay, which refuses the channel "mine" to this client (401)`}},
		{"no channel", through.Config{}, []string{"ok WebSocket: works", "ok event stream: reaches the relay; name a channel with --channel"}},
		{"a wrong channel", through.Config{Channel: "a\nb"}, []string{"warn event stream: "}},
		{"a wrong token", through.Config{Token: token + "x"}, []string{"fail WebSocket: the proxies pass it, but the relay closes it with 4401", "log in with a token or cookie that is valid"}},
		{"an unknown cookie", through.Config{Cookie: "session=7"}, []string{"warn WebSocket: works: ", "but the relay does not know the user", "let the proxy pass the Cookie header"}},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			var err error
			if tt.URL, err = through.Parse("http://" + relay.Addr()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), relaytest.Patience)
			defer cancel()
			var out strings.Builder
			tt.Report = func(f source.Finding) { fmt.Fprintf(&out, "%s %s: %s\n%s\n", f.Level, f.Subject, f.Text, f.Do) }
			through.Check(ctx, tt.Config)
			for _, want := range tt.wants {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, &out)
				}
			}
			if strings.Contains(out.String(), token) {
				t.Errorf("it repeats the token:\n%s", &out)
			}
		})
	}
}
