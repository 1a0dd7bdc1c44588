package config

import (
	"strings"
	"testing"
)

// warningsOf loads with these variables alone and returns the warnings, one on a line.
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

func TestMisspelt(t *testing.T) {
	for _, tt := range []struct{ comment, name, want string }{
		{"a letter too few", "CHANELS", ": did you mean SIDECAST_CHANNELS?"},
		{"the singular", "CHANNEL", ": did you mean SIDECAST_CHANNELS?"},
		{"two letters swapped", "LISTNE", ": did you mean SIDECAST_LISTEN?"},
		{"another unit in the name", "PING_INTERVALL", ": did you mean SIDECAST_PING_INTERVAL?"},
		{"an underscore too few", "REDISURL", ": did you mean SIDECAST_REDIS_URL?"},
		{"the file of a secret", "REDIS_PASSWORD_FIEL", ": did you mean SIDECAST_REDIS_PASSWORD_FILE?"},
		{"a file where none is read", "CHANNELS_FILE", ": only secrets are read from files; did you mean SIDECAST_CHANNELS?"},
		{"not in this version", "PUSHER_SECRET", "; `sidecast --help` lists them"},
		{"nothing like any", "FLUX_CAPACITOR", "; `sidecast --help` lists them"},
		{"no name at all", "", "; `sidecast --help` lists them"},
	} {
		want := Prefix + tt.name + ": is no setting of this version" + tt.want
		if got := warningsOf(t, env(tt.name+"=x")); got != want {
			t.Errorf("%s: %q, want %q", tt.comment, got, want)
		}
	}
}

// Names have a case, except on Windows: in another case nothing would be read and nothing said.
func TestMisspeltCase(t *testing.T) {
	got := misspelt([]string{"sidecast_listen=x", "HOME=/", "SIDECASTLE=x", "=C:=C:\\"})
	if len(got) > 1 || len(got) == 1 && got[0].String() != "sidecast_listen: is no setting of this version: did you mean SIDECAST_LISTEN?" {
		t.Errorf("warned of %v", got)
	}
}

// Each variable is warned of once, in order, and the settings themselves are not.
func TestMisspeltAll(t *testing.T) {
	variables := env(realRedis...)
	variables[Prefix+"ZZZ"], variables[Prefix+"CHANELS"] = "x", "y"
	got := warningsOf(t, variables)
	if strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, Prefix+"CHANELS: ") || !strings.Contains(got, "\n"+Prefix+"ZZZ: ") {
		t.Errorf("warned of:\n%s", got)
	}
}

// What Kubernetes sets for Services called sidecast and sidecast-redis.
func TestServiceLinksAreNotWarnedOf(t *testing.T) {
	links := env(
		"SERVICE_HOST=10.0.0.1", "SERVICE_PORT=80", "SERVICE_PORT_HTTP=80", "PORT=tcp://10.0.0.1:80",
		"PORT_80_TCP=tcp://10.0.0.1:80", "PORT_80_TCP_PROTO=tcp", "PORT_80_TCP_PORT=80", "PORT_80_TCP_ADDR=10.0.0.1",
		"REDIS_SERVICE_HOST=10.0.0.2", "REDIS_SERVICE_PORT=6379", "REDIS_SERVICE_PORT_REDIS=6379",
		"REDIS_PORT=tcp://10.0.0.2:6379", "REDIS_PORT_6379_TCP=tcp://10.0.0.2:6379", "REDIS_PORT_6379_TCP_ADDR=10.0.0.2",
	)
	if got := warningsOf(t, links); got != "" {
		t.Errorf("warned of:\n%s", got)
	}
	c := mustLoad(t, links)
	for _, s := range c.Effective() {
		if s.FromEnv {
			t.Errorf("%s was taken from a service link", s.Name)
		}
	}
	// What only looks like one is still misspelt.
	if got := warningsOf(t, env("PORTS=1", "SERVICE=x")); strings.Count(got, "SIDECAST_") < 2 {
		t.Errorf("warned of:\n%s", got)
	}
}

func TestOddValues(t *testing.T) {
	for _, tt := range []struct {
		comment string
		set     []string
		want    string
	}{
		{"everybody is a trusted proxy", []string{"TRUSTED_PROXIES=10.0.0.0/8,0.0.0.0/0"},
			"SIDECAST_TRUSTED_PROXIES: 0.0.0.0/0 believes every peer, so that anyone can claim to be any host"},
		{"a line break at the end of a password", []string{"REDIS_PASSWORD=x\n"},
			"SIDECAST_REDIS_PASSWORD: begins or ends with white space, which is taken as part of it"},
		{"a secret that can be guessed", []string{"JWT_SECRET=secret"},
			"SIDECAST_JWT_SECRET: is shorter than 32 bytes: who has one token can guess it; `openssl rand -base64 32` makes a good one"},
		{"nothing odd", []string{"TRUSTED_PROXIES=10.0.0.0/8", "REDIS_PASSWORD=x y"}, ""},
	} {
		if got := warningsOf(t, env(append(tt.set, realRedis...)...)); got != tt.want {
			t.Errorf("%s: %q", tt.comment, got)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0},
		{"abc", "abd", 1}, {"abc", "ab", 1}, {"abc", "abcd", 1}, {"abc", "acb", 1}, {"kitten", "sitting", 3},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
