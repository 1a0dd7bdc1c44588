package config

import (
	"strings"
	"testing"
)

func TestMisspelt(t *testing.T) {
	for _, tt := range []struct{ comment, name, want string }{
		{"a missing letter", "CHANELS", "; did you mean SIDECAST_CHANNELS?"},
		{"the singular", "CHANNEL", "; did you mean SIDECAST_CHANNELS?"},
		{"two letters swapped", "LISTNE", "; did you mean SIDECAST_LISTEN?"},
		{"a doubled letter", "PING_INTERVALL", "; did you mean SIDECAST_PING_INTERVAL?"},
		{"a missing underscore", "REDISURL", "; did you mean SIDECAST_REDIS_URL?"},
		{"the file of a secret", "REDIS_PASSWORD_FIEL", "; did you mean SIDECAST_REDIS_PASSWORD_FILE?"},
		{"a file for a setting that is not a secret", "CHANNELS_FILE", "; only secrets are read from files; did you mean SIDECAST_CHANNELS?"},
		{"not in this version", "STATSD_ADDRESS", "; `sidecast --help` lists the settings"},
		{"unlike every setting", "FLUX_CAPACITOR", "; `sidecast --help` lists the settings"},
		{"only the prefix", "", "; `sidecast --help` lists the settings"},
	} {
		want := Prefix + tt.name + ": is not a setting of this version" + tt.want
		if got := warningsOf(t, env(tt.name+"=x")); got != want {
			t.Errorf("%s: %q, want %q", tt.comment, got, want)
		}
	}
}

// TestMisspeltCase checks that a name in another case is reported, because it
// is not read. Only Windows ignores the case.
func TestMisspeltCase(t *testing.T) {
	got := misspelt([]string{"sidecast_listen=x", "HOME=/", "SIDECASTLE=x", "=C:=C:\\"})
	if len(got) > 1 || len(got) == 1 && got[0].String() != "sidecast_listen: is not a setting of this version; did you mean SIDECAST_LISTEN?" {
		t.Errorf("warnings: %v", got)
	}
}

// TestMisspeltAll checks that there is one warning for each misspelt variable,
// in order, and no warning for a setting.
func TestMisspeltAll(t *testing.T) {
	variables := env(realRedis...)
	variables[Prefix+"ZZZ"], variables[Prefix+"CHANELS"] = "x", "y"
	got := warningsOf(t, variables)
	if strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, Prefix+"CHANELS: ") || !strings.Contains(got, "\n"+Prefix+"ZZZ: ") {
		t.Errorf("warnings:\n%s", got)
	}
}

// TestServiceLinks checks that the variables that Kubernetes sets for Services
// called sidecast and sidecast-redis cause no warning.
func TestServiceLinks(t *testing.T) {
	links := env(
		"SERVICE_HOST=10.0.0.1", "SERVICE_PORT=80", "SERVICE_PORT_HTTP=80", "PORT=tcp://10.0.0.1:80",
		"PORT_80_TCP=tcp://10.0.0.1:80", "PORT_80_TCP_PROTO=tcp", "PORT_80_TCP_PORT=80", "PORT_80_TCP_ADDR=10.0.0.1",
		"REDIS_SERVICE_HOST=10.0.0.2", "REDIS_SERVICE_PORT=6379", "REDIS_SERVICE_PORT_REDIS=6379",
		"REDIS_PORT=tcp://10.0.0.2:6379", "REDIS_PORT_6379_TCP=tcp://10.0.0.2:6379", "REDIS_PORT_6379_TCP_ADDR=10.0.0.2",
	)
	if got := warningsOf(t, links); got != "" {
		t.Errorf("warnings:\n%s", got)
	}
	c := mustLoad(t, links)
	for _, s := range c.Effective() {
		if s.FromEnv {
			t.Errorf("%s was read from a service link", s.Name)
		}
	}
	// A name that only resembles a service link is misspelt.
	if got := warningsOf(t, env("PORTS=1", "SERVICE=x")); strings.Count(got, "SIDECAST_") < 2 {
		t.Errorf("warnings:\n%s", got)
	}
}
