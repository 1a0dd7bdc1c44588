package config

import (
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
		{"a secret that can be guessed", []string{"JWT_SECRET=secret"},
			"SIDECAST_JWT_SECRET: is shorter than 32 bytes, so that anyone who has a token can guess it; `openssl rand -base64 32` generates a good one"},
		{"usual values", []string{"TRUSTED_PROXIES=10.0.0.0/8", "REDIS_PASSWORD=x y"}, ""},
	} {
		if got := warningsOf(t, env(append(tt.set, realRedis...)...)); got != tt.want {
			t.Errorf("%s: %q", tt.comment, got)
		}
	}
}
