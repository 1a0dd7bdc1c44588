package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// setenv sets these variables for the test and removes all other variables of
// Sidecast.
func setenv(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(strings.ToUpper(name), Prefix) {
			t.Setenv(name, "") // so that it is restored after the test
			os.Unsetenv(name)
		}
	}
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

// env reads "NAME=value" entries and adds the prefix to each name.
func env(entries ...string) map[string]string {
	variables := make(map[string]string)
	for _, entry := range entries {
		name, value, _ := strings.Cut(entry, "=")
		variables[Prefix+name] = value
	}
	return variables
}

// mustLoad loads with only these variables. It fails the test if there are
// faults.
func mustLoad(t *testing.T, variables map[string]string) *Config {
	t.Helper()
	setenv(t, variables)
	c, _, err := Load()
	if err != nil {
		t.Fatalf("Load with %v: %v", variables, err)
	}
	return c
}

// faultsOf loads with only these variables and returns the faults.
func faultsOf(t *testing.T, variables map[string]string) Faults {
	t.Helper()
	setenv(t, variables)
	_, _, err := Load()
	faults, _ := errors.AsType[Faults](err)
	return faults
}

// realRedis has the settings that a relay with a real Redis requires.
var realRedis = []string{"REDIS_URL=redis://redis:6379", "CHANNELS=chat:*", "PUBLIC_CHANNELS=chat:*"}

// sentinelRedis has the settings that a relay with Sentinels requires, except
// the mode.
var sentinelRedis = []string{"REDIS_URL=redis://sentinel:26379?master_name=main", "CHANNELS=chat:*", "PUBLIC_CHANNELS=chat:*"}

// TestDefaults checks the defaults that differ between the two modes, and the
// mode.
func TestDefaults(t *testing.T) {
	embedded, real := mustLoad(t, nil), mustLoad(t, env("REDIS_URL=redis://redis", "CHANNELS=x", "JWT_SECRET="+longSecret))
	for _, tt := range []struct{ name, embedded, real string }{
		{"EMBEDDED", "true", "false"},
		{"LISTEN", "127.0.0.1:8080", ":8080"},
		{"ADMIN_LISTEN", "127.0.0.1:9190", "127.0.0.1:9190"},
		{"CHANNELS", "*", "x"},
		{"PUBLIC_CHANNELS", "*", ""},
		{"PUBLISH_CHANNELS", "*", ""},
		{"DEFAULT_CHANNELS", "chat", ""},
		{"DEMO", "true", "false"},
	} {
		if got := effective(t, embedded, tt.name).Value; got != tt.embedded {
			t.Errorf("%s = %q in embedded mode, want %q", tt.name, got, tt.embedded)
		}
		if got := effective(t, real, tt.name).Value; got != tt.real {
			t.Errorf("%s = %q with a real Redis, want %q", tt.name, got, tt.real)
		}
	}
}

// TestAllFaultsAtOnce checks that all faults are reported together, one per
// line, in the order of the tables.
func TestAllFaultsAtOnce(t *testing.T) {
	faults := faultsOf(t, env("EMBEDDED=false", "LOG_LEVEL=loud", "WRITE_TIMEOUT=5", "LISTEN=8080"))
	want := strings.Join([]string{
		`SIDECAST_LISTEN: "8080" is only a port; write :8080`,
		`SIDECAST_REDIS_URL: is unset, and SIDECAST_EMBEDDED is false; set SIDECAST_REDIS_URL to a URL like redis://localhost:6379`,
		`SIDECAST_CHANNELS: is unset: nothing would be relayed; set it to the patterns of your channels, like chat:*, or set SIDECAST_DURABLE_CHANNELS`,
		`SIDECAST_PUBLIC_CHANNELS: is unset, and clients cannot log in: no client could subscribe; set it to the patterns of your public channels, like chat:*, or set SIDECAST_AUTH_URL or SIDECAST_JWT_SECRET`,
		`SIDECAST_WRITE_TIMEOUT: "5" has no unit; write 5s`,
		`SIDECAST_LOG_LEVEL: "loud" is not an allowed value; write debug, info, warn or error`,
	}, "\n")
	if got := faults.Error(); got != want {
		t.Errorf("faults:\n%s\nwant:\n%s", got, want)
	}
}

func TestAllowedValuesInAnyCase(t *testing.T) {
	c := mustLoad(t, env("LOG_FORMAT=JSON", "PUBLISH_FORMAT= Raw "))
	if c.LogFormat != JSONFormat || c.PublishFormat != FormatRaw {
		t.Errorf("read %q and %q", c.LogFormat, c.PublishFormat)
	}
}

// TestLoadOnly checks that only the named settings can have faults, and that
// the mode does not depend on the content of a file.
func TestLoadOnly(t *testing.T) {
	setenv(t, env("REDIS_URL_FILE=/missing", "TLS_KEY=/missing", "PING_INTERVAL=soon", "ADMIN_LISTEN=:9999"))
	c, err := LoadOnly("EMBEDDED", "ADMIN_LISTEN")
	if err != nil || c.IsEmbedded() || c.AdminListen != ":9999" || !c.IsSet("ADMIN_LISTEN") || c.PingInterval != 0 {
		t.Errorf("embedded %v, admin %q, error %v", c.IsEmbedded(), c.AdminListen, err)
	}
	setenv(t, env("ADMIN_LISTEN=9999", "TLS_KEY=/missing"))
	if _, err := LoadOnly("EMBEDDED", "ADMIN_LISTEN"); err == nil || err.Error() != `SIDECAST_ADMIN_LISTEN: "9999" is only a port; write :9999` {
		t.Errorf("error %v", err)
	}
	setenv(t, nil)
	if c, err := LoadOnly("EMBEDDED", "ADMIN_LISTEN"); err != nil || !c.IsEmbedded() || c.AdminListen != "127.0.0.1:9190" {
		t.Errorf("without variables: embedded %v, admin %q, error %v", c.IsEmbedded(), c.AdminListen, err)
	}
}
