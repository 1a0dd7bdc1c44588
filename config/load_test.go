package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// setenv makes the environment hold these variables and no other of Sidecast's.
func setenv(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(strings.ToUpper(name), Prefix) {
			t.Setenv(name, "") // so that it comes back after the test
			os.Unsetenv(name)
		}
	}
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

// env makes variables from "NAME=value", with the prefix put before each name.
func env(entries ...string) map[string]string {
	variables := make(map[string]string)
	for _, entry := range entries {
		name, value, _ := strings.Cut(entry, "=")
		variables[Prefix+name] = value
	}
	return variables
}

// mustLoad loads with these variables alone and fails on faults.
func mustLoad(t *testing.T, variables map[string]string) *Config {
	t.Helper()
	setenv(t, variables)
	c, _, err := Load()
	if err != nil {
		t.Fatalf("Load with %v: %v", variables, err)
	}
	return c
}

// faultsOf loads with these variables alone and returns what is wrong.
func faultsOf(t *testing.T, variables map[string]string) Faults {
	t.Helper()
	setenv(t, variables)
	_, _, err := Load()
	faults, _ := errors.AsType[Faults](err)
	return faults
}

// realRedis is the least that a relay with a real Redis is told.
var realRedis = []string{"REDIS_URL=redis://redis:6379", "CHANNELS=chat:*", "PUBLIC_CHANNELS=chat:*"}

func TestEmbeddedDefaults(t *testing.T) {
	c := mustLoad(t, nil)
	if !c.IsEmbedded() {
		t.Error("not embedded without a REDIS_URL")
	}
	for _, tt := range []struct{ name, got, want string }{
		{"LISTEN", string(c.Listen), "127.0.0.1:8080"},
		{"ADMIN_LISTEN", string(c.AdminListen), "127.0.0.1:9190"},
		{"CHANNELS", c.Channels.String(), "*"},
		{"PUBLIC_CHANNELS", c.PublicChannels.String(), "*"},
		{"PUBLISH_CHANNELS", c.PublishChannels.String(), "*"},
		{"DEFAULT_CHANNELS", c.DefaultChannels.String(), "chat"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %q, want %q", tt.name, tt.got, tt.want)
		}
	}
	if !c.Demo {
		t.Error("no demo page in embedded mode")
	}
}

func TestDefaultsWithRealRedis(t *testing.T) {
	c := mustLoad(t, env(realRedis...))
	if c.IsEmbedded() {
		t.Error("embedded in spite of a REDIS_URL")
	}
	for _, tt := range []struct{ name, got, want string }{
		{"LISTEN", string(c.Listen), ":8080"},
		{"ADMIN_LISTEN", string(c.AdminListen), "127.0.0.1:9190"},
		{"PUBLISH_CHANNELS", c.PublishChannels.String(), ""},
		{"DEFAULT_CHANNELS", c.DefaultChannels.String(), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %q, want %q", tt.name, tt.got, tt.want)
		}
	}
	if c.Demo {
		t.Error("a demo page in front of a real Redis")
	}
}

// Every fault is told at once, one on a line, in the order of the tables.
func TestAllFaultsAtOnce(t *testing.T) {
	faults := faultsOf(t, env("EMBEDDED=false", "LOG_LEVEL=loud", "WRITE_TIMEOUT=5", "LISTEN=8080"))
	want := strings.Join([]string{
		`SIDECAST_LISTEN: "8080" is a port alone; write :8080`,
		`SIDECAST_REDIS_URL: is unset, and SIDECAST_EMBEDDED is false; set it, like redis://localhost:6379`,
		`SIDECAST_CHANNELS: is unset: nothing would be relayed; set it to the patterns of your channels, like chat:*, or set SIDECAST_DURABLE_CHANNELS`,
		`SIDECAST_PUBLIC_CHANNELS: is unset, and no client can log in: nobody could hear anything; set it to the patterns that anyone may hear, like chat:*, or set SIDECAST_AUTH_URL or SIDECAST_JWT_SECRET`,
		`SIDECAST_WRITE_TIMEOUT: "5" has no unit; write 5s`,
		`SIDECAST_LOG_LEVEL: "loud" is not a value that it takes; write debug, info, warn or error`,
	}, "\n")
	if got := faults.Error(); got != want {
		t.Errorf("faults:\n%s\nwant:\n%s", got, want)
	}
}
