package source

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"sidecast/relay/source/resp"
)

// TestServersPrintNoSecrets prints one in every way.
func TestServersPrintNoSecrets(t *testing.T) {
	s := Server{Address: "localhost:6379", Username: "user-hunter2", Password: "hunter2"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "server", s, "pointer", &s)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "server", s, "config", Config{Server: s})
	text, err := json.Marshal(map[string]any{"server": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%+v", &s),
		fmt.Sprintf("%+v %#v", Config{Server: s}, Config{Server: s}), s.String(), s.GoString(), string(text), log.String(),
	} {
		if strings.Contains(printed, "hunter2") || strings.Contains(printed, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("printed %s", printed)
		}
	}
}

func TestNewRejectsInvalidConfig(t *testing.T) {
	good := testLink(t, new(discardSink)).cfg
	for why, break_ := range map[string]func(*Config){
		"no patterns":        func(c *Config) { c.Patterns = nil },
		"no address":         func(c *Config) { c.Server.Address = "" },
		"protocol 4":         func(c *Config) { c.Server.Protocol = 4 },
		"a negative payload": func(c *Config) { c.MaxPayload = -1 },
		"a huge payload":     func(c *Config) { c.MaxPayload = resp.MaxBulk + 1 },
	} {
		cfg := good
		break_(&cfg)
		if _, err := New(cfg, new(discardSink)); err == nil {
			t.Errorf("%s was accepted", why)
		}
	}
	if err := (&Server{Address: "x:1"}).TrustCA(nil); err == nil {
		t.Error("a CA without TLS was accepted")
	}
	if _, err := ParseURL("redis://localhost/1", Cluster); err == nil {
		t.Error("a URL for another mode was accepted")
	}
	secure, err := ParseURL("rediss://x:1", Standalone)
	if err != nil {
		t.Fatal(err)
	}
	if err := secure.TrustCA([]byte("no PEM")); err == nil {
		t.Error("an invalid CA was accepted")
	}
}
