package source

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
)

// A URL for a single Redis makes the server that go-redis reads in it.
func TestParseURLAgreesWithGoRedis(t *testing.T) {
	for _, url := range []string{
		"redis://localhost",
		"redis://localhost/",
		"redis://localhost:",
		"redis://user:p%40ss@redis:6380/3",
		"redis://:pass@[::1]:6379?protocol=3",
		"redis://[fe80::1%25eth0]",
		"redis://my_redis:6379", // as names of Compose services
		"redis://user@redis",
		"redis://redis/1?db=2",
		"redis://redis/1?db=",
		"redis://redis?db=1&db=2",
		"redis://redis?protocol=2&protocol=3",
		"redis://redis?db=-1",
		"rediss://redis.example.com:6379",
		"rediss://redis.example.com:6379?skip_verify=true",
		"rediss://redis.example.com:6379?skip_verify=0",
		"rediss://[::1]?skip_verify=",
		"unix:///run/redis.sock?db=2",
		"unix://user:pass@/run/redis.sock",
	} {
		s, err := ParseURL(url, Standalone)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		want, err := redis.ParseURL(url)
		if err != nil {
			t.Errorf("%s: go-redis reports %v", url, err)
			continue
		}
		if s.Address != want.Addr || s.Username != want.Username || s.Password != want.Password || s.DB != want.DB ||
			s.Protocol != want.Protocol || (s.TLS != nil) != (want.TLSConfig != nil) {
			t.Errorf("%s: %q %q %q, TLS %v, db %d, RESP%d", url, s.Address, s.Username, s.Password, s.TLS != nil, s.DB, s.Protocol)
		}
		if s.TLS != nil && (s.TLS.ServerName != want.TLSConfig.ServerName || s.TLS.MinVersion != want.TLSConfig.MinVersion ||
			s.TLS.InsecureSkipVerify != want.TLSConfig.InsecureSkipVerify) {
			t.Errorf("%s: TLS to %q from version %x, skip %v", url, s.TLS.ServerName, s.TLS.MinVersion, s.TLS.InsecureSkipVerify)
		}
	}
}

// A URL for Sentinels or a cluster leads to several nodes, whose certificates
// have different names.
func TestParseURLOfSeveralNodes(t *testing.T) {
	for _, tt := range []struct {
		mode   Mode
		url    string
		nodes  []string
		master string
	}{
		{Sentinel, "redis://:pw@a/2?addr=b:2&addr=[::1]:3&master_name=my+main", []string{"a:26379", "b:2", "[::1]:3"}, "my main"},
		{Sentinel, "rediss://a:1?master_name=main", []string{"a:1"}, "main"},
		{Cluster, "redis://user:pw@a:1?addr=b:2&addr=c:3", []string{"a:1", "b:2", "c:3"}, ""},
		{Cluster, "rediss://a", []string{"a:6379"}, ""},
	} {
		s, err := ParseURL(tt.url, tt.mode)
		if err != nil || !slices.Equal(s.addresses(), tt.nodes) || s.MasterName != tt.master || s.Mode != tt.mode {
			t.Errorf("%v %s: %v, %q, master %q", tt.mode, tt.url, err, s.addresses(), s.MasterName)
		}
		if s.TLS != nil && s.TLS.ServerName != "" {
			t.Errorf("%s: every certificate must have the name %s", tt.url, s.TLS.ServerName)
		}
	}
}
