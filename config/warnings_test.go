package config

import (
	"slices"
	"strings"
	"testing"
)

// warningsOf loads with only these variables and returns the warnings, one per
// line.
func warningsOf(t *testing.T, variables map[string]string) string {
	t.Helper()
	setenv(t, variables)
	_, warnings, _ := Load()
	lines := make([]string, len(warnings))
	for i, w := range warnings {
		lines[i] = w.String()
	}
	return strings.Join(lines, "\n")
}

func TestUnusualValues(t *testing.T) {
	for _, tt := range []struct {
		comment string
		set     []string
		want    string
	}{
		{"every peer is a trusted proxy", []string{"TRUSTED_PROXIES=10.0.0.0/8,0.0.0.0/0"},
			"SIDECAST_TRUSTED_PROXIES: 0.0.0.0/0 trusts every peer, so that any client can claim any address and host"},
		{"a line break at the end of a password", []string{"REDIS_PASSWORD=x\n"},
			"SIDECAST_REDIS_PASSWORD: begins or ends with white space, which is part of the value"},
		{"quotes around a password", []string{`REDIS_PASSWORD="x"`}, "SIDECAST_REDIS_PASSWORD: has quotes, which are part of the value"},
		{"a comment after a password", []string{"REDIS_PASSWORD=x # for Redis"}, "SIDECAST_REDIS_PASSWORD: has a comment, which is part of the value"},
		{"a byte order mark before a password", []string{"REDIS_PASSWORD_FILE=" + writeFile(t, "password", "\ufeffx\r\n")},
			"SIDECAST_REDIS_PASSWORD: begins with a byte order mark (BOM), which is part of the value"},
		{"a password in UTF-16", []string{"REDIS_PASSWORD_FILE=" + writeFile(t, "password", "\xff\xfex\x00")},
			"SIDECAST_REDIS_PASSWORD: begins with a byte order mark (BOM), which is part of the value"},
		{"a line break of Windows", []string{"REDIS_PASSWORD_FILE=" + writeFile(t, "password", "x\r\n")}, ""},
		{"a blank after another secret", []string{"REDIS_SENTINEL_PASSWORD=x ", "REDIS_MODE=sentinel", "REDIS_URL=redis://s?master_name=m"},
			"SIDECAST_REDIS_SENTINEL_PASSWORD: begins or ends with white space, which is part of the value"},
		{"pages without an origin", []string{"ALLOWED_ORIGINS=https://a.example,null"},
			"SIDECAST_ALLOWED_ORIGINS: null allows every website to connect from the browsers of its visitors: " +
				"this is what a sandboxed frame sends, and any website can show one"},
		{"files", []string{"ALLOWED_ORIGINS=file://"},
			"SIDECAST_ALLOWED_ORIGINS: file:// allows every file to connect that a user opens in a browser or an app"},
		{"newest messages of no history", []string{"LAST=price:*=1", "HISTORY_BYTES=0"},
			"SIDECAST_LAST: has no effect on live channels, because SIDECAST_HISTORY_BYTES is 0"},
		{"newest messages", []string{"LAST=price:*=1"}, ""},
		{"members without a user", []string{"PRESENCE_CHANNELS=chat:*"},
			"SIDECAST_PRESENCE_CHANNELS: has no effect, because no client has a user: clients can neither log in nor use signed channels"},
		{"members with a signature", []string{"PRESENCE_CHANNELS=chat:*", "CHANNEL_SECRET=" + longSecret}, ""},
		{"events that cannot occur", []string{"EVENTS=connected,left,unheard"},
			"SIDECAST_EVENTS: left has no effect, because SIDECAST_PRESENCE_CHANNELS is unset\n" +
				"SIDECAST_EVENTS: unheard has no effect, because SIDECAST_UNHEARD is unset"},
		{"webhooks for nothing", []string{"EVENTS_URL=https://app", "EVENTS_SECRET=" + longSecret},
			"SIDECAST_EVENTS_URL: receives only the answers to control messages: the settings cause no other events"},
		{"webhooks for nothing, explicitly", []string{"EVENTS_URL=https://app", "EVENTS_SECRET=" + longSecret, "EVENTS=none"},
			"SIDECAST_EVENTS_URL: receives only the answers to control messages: the settings cause no other events"},
		{"webhooks", []string{"EVENTS_URL=https://app", "EVENTS_SECRET=" + longSecret, "UNHEARD=chat:*"}, ""},
		{"usual values", []string{"TRUSTED_PROXIES=10.0.0.0/8", "REDIS_PASSWORD=x y"}, ""},
	} {
		if got := warningsOf(t, env(append(slices.Clone(realRedis), tt.set...)...)); got != tt.want {
			t.Errorf("%s: %q", tt.comment, got)
		}
	}
}
