package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/source/resp"
)

func TestParseURL(t *testing.T) {
	tests := []struct {
		url, address, username, password string
		tls                              bool
		db, protocol                     int
	}{
		{"redis://localhost", "localhost:6379", "", "", false, 0, 0},
		{"redis://user:p%40ss@redis:6380/3", "redis:6380", "user", "p@ss", false, 3, 0},
		{"redis://:pass@[::1]:6379?protocol=3", "[::1]:6379", "", "pass", false, 0, 3},
		{"rediss://redis.example.com:6379", "redis.example.com:6379", "", "", true, 0, 0},
		{"rediss://redis.example.com:6379?skip_verify=true", "redis.example.com:6379", "", "", true, 0, 0},
		{"unix:///run/redis.sock?db=2", "/run/redis.sock", "", "", false, 2, 0},
	}
	for _, test := range tests {
		s, err := ParseURL(test.url, Standalone)
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		if s.Address != test.address || s.Username != test.username || s.Password != test.password ||
			(s.TLS != nil) != test.tls || s.DB != test.db || s.Protocol != test.protocol {
			t.Errorf("%s: %q %q %q, TLS %v, db %d, RESP%d",
				test.url, s.Address, s.Username, s.Password, s.TLS != nil, s.DB, s.Protocol)
		}
	}
}

// TestParseURLWithSeveralNodes parses the URLs of Sentinel and Cluster.
func TestParseURLWithSeveralNodes(t *testing.T) {
	tests := []struct {
		mode   Mode
		url    string
		nodes  []string
		master string
	}{
		{Sentinel, "redis://a:1?master_name=main", []string{"a:1"}, "main"},
		{Sentinel, "redis://a?master_name=main", []string{"a:26379"}, "main"}, // the port of Sentinels
		{Sentinel, "redis://:pw@a:1/2?addr=b:2&addr=[::1]:3&master_name=my+main&protocol=3",
			[]string{"a:1", "b:2", "[::1]:3"}, "my main"},
		{Sentinel, "rediss://a:1?master_name=main&skip_verify=true", []string{"a:1"}, "main"},
		{Cluster, "redis://user:pw@a:1?addr=b:2&addr=c:3", []string{"a:1", "b:2", "c:3"}, ""},
		{Cluster, "rediss://a", []string{"a:6379"}, ""},
	}
	for _, test := range tests {
		s, err := ParseURL(test.url, test.mode)
		if err != nil || !slices.Equal(s.addresses(), test.nodes) || s.MasterName != test.master || s.Mode != test.mode {
			t.Errorf("%v %s: %v, %q, master %q", test.mode, test.url, err, s.addresses(), s.MasterName)
		}
		if s.TLS != nil && s.TLS.ServerName != "" {
			t.Errorf("%s: all certificates must name %s", test.url, s.TLS.ServerName)
		}
	}
	bad := []struct {
		mode Mode
		url  string
		want error
	}{
		{Standalone, "redis://a?addr=b:1", errURLNodes},
		{Standalone, "redis://a?master_name=main", errURLNodes},
		{Cluster, "redis://a?master_name=main", errURLNoMaster},
		{Cluster, "redis://a/1", errURLDB},
		{Cluster, "unix:///run/redis.sock", errURLUnix},
		{Sentinel, "unix:///run/redis.sock?master_name=main", errURLUnix},
		{Sentinel, "redis://a:1", errURLMaster},
		{Sentinel, "redis://a:1?master_name=main&addr=b", errURLAddr},
		{Sentinel, "redis://a:1?master_name=main&username=u", errURLOption},
	}
	for _, test := range bad {
		if _, err := ParseURL(test.url, test.mode); !errors.Is(err, test.want) {
			t.Errorf("%v %s: %v, want %v", test.mode, test.url, err, test.want)
		}
	}
}

func TestModes(t *testing.T) {
	for _, mode := range []Mode{Standalone, Sentinel, Cluster} {
		if got, err := ParseMode(mode.String()); got != mode || err != nil {
			t.Errorf("%v was parsed as %v, %v", mode, got, err)
		}
	}
	if _, err := ParseMode("replica"); err == nil {
		t.Error("an unknown mode was accepted")
	}
}

// TestURLErrorsContainNoSecret checks that an error tells what to write and
// contains no part of the URL.
func TestURLErrorsContainNoSecret(t *testing.T) {
	for url, want := range map[string]string{
		"":                                    "redis://host:6379",
		"localhost:6379":                      "redis://host:6379",
		"user:hunter2@localhost:6379":         "redis://host:6379",
		"http://user:hunter2@localhost":       "redis://host:6379",
		"redis-sentinel://:hunter2@localhost": "redis://host:6379",
		"redis://user:hunter2#x@localhost":    "percent-encode",
		"redis://user:hunter2%zz@localhost":   "percent-encode",
		"redis://user:hunter2@local host":     "percent-encode",
		"redis://user:hunter2/x@localhost":    "percent-encode",
		"redis://user:hunter2@localhost/db":   "percent-encode",
		"redis://user:pa?hunter2=x@localhost": "",
		"redis://localhost?pool_size=3":       "option",
		"redis://localhost?hunter2=3":         "option",
		"redis://localhost?protocol=4":        "protocol",
		"redis://localhost?db=hunter2":        "percent-encode",
	} {
		_, err := ParseURL(url, Standalone)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want something about %q", url, err, want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error contains the secret: %v", url, err)
		}
	}
}

// TestServersPrintNoSecrets prints a server in every way.
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
	secure, err := ParseURL("rediss://x:1", Standalone)
	if err != nil {
		t.Fatal(err)
	}
	if err := secure.TrustCA([]byte("no PEM")); err == nil {
		t.Error("an invalid CA was accepted")
	}
}
