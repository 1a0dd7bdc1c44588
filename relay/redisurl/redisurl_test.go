package redisurl

import (
	"errors"
	"strings"
	"testing"

	"sidecast/relay/syntax"
)

func TestModes(t *testing.T) {
	for _, name := range modes {
		mode, err := ParseMode(name)
		if err != nil || mode.String() != name || !mode.Valid() {
			t.Errorf("%q is read as %v, %v", name, mode, err)
		}
	}
	if _, err := ParseMode("replica"); err == nil {
		t.Error("an unknown mode is accepted")
	}
	if unknown := Mode(9); unknown.Valid() || unknown.String() != "mode 9" {
		t.Errorf("an unknown mode is %v", unknown)
	}
}

// TestParse checks which URLs are accepted and how they are shown. That their
// parts are those that go-redis reads in them is checked by relay/source.
func TestParse(t *testing.T) {
	for _, tt := range []struct {
		comment, text string
		address       string // standalone
		shown         string
	}{
		{"a host", "redis://localhost", "localhost:6379", "redis://localhost"},
		{"an underscore, as in names of Compose services", "redis://my_redis:6379", "my_redis:6379", "redis://my_redis:6379"},
		{"every part", "redis://user:p%40ss@redis:6380/3?protocol=3", "redis:6380", "redis://[redacted]@redis:6380/3?protocol=3"},
		{"a password alone", "redis://:pass@[::1]:6379", "[::1]:6379", "redis://[redacted]@[::1]:6379"},
		{"a user alone, which the settings reject unless there is a password", "redis://user@redis", "redis:6379", "redis://[redacted]@redis"},
		{"IPv6 with a zone", "redis://[fe80::1%25eth0]:1", "[fe80::1%eth0]:1", "redis://[fe80::1%eth0]:1"},
		{"a slash and no number", "redis://redis/", "redis:6379", "redis://redis/"},
		{"a colon and no port", "redis://redis:", "redis:6379", "redis://redis:"},
		{"the option wins over the path", "redis://redis/1?db=2", "redis:6379", "redis://redis/1?db=2"},
		{"an empty option does not", "redis://redis/1?db=", "redis:6379", "redis://redis/1?db="},
		{"the last of two options counts", "redis://redis?db=1&db=2", "redis:6379", "redis://redis?db=1&db=2"},
		{"TLS", "rediss://redis.example.com:6379", "redis.example.com:6379", "rediss://redis.example.com:6379"},
		{"TLS without verification", "rediss://redis?skip_verify=true", "redis:6379", "rediss://redis?skip_verify=true"},
		{"verification asked for", "rediss://redis?skip_verify=0", "redis:6379", "rediss://redis?skip_verify=0"},
		{"a socket", "unix:///run/redis.sock?db=2", "/run/redis.sock", "unix:///run/redis.sock?db=2"},
		{"a socket and credentials", "unix://relay:pw@/run/redis.sock", "/run/redis.sock", "unix://[redacted]@/run/redis.sock"},
	} {
		u, err := Parse(tt.text)
		if err == nil {
			err = u.Check(Standalone)
		}
		if err != nil {
			t.Errorf("%s: %v", tt.comment, err)
		} else if got := u.Address(Standalone); got != tt.address || u.String() != tt.shown {
			t.Errorf("%s: address %q, shown as %q, want %q, %q", tt.comment, got, u, tt.address, tt.shown)
		}
	}
}

// An error says what to write, and nothing that was written but a host and a
// port.
func TestParseRejects(t *testing.T) {
	for _, tt := range []struct{ comment, text, want string }{
		{"empty", "", `has no scheme; ` + hintForm},
		{"a host and a port", "redis:6379", `has no scheme; write redis://redis:6379`},
		{"an address and a port", "10.0.0.5:6379", `has no scheme; write redis://10.0.0.5:6379`},
		{"a host alone", "redis", `has no scheme; ` + hintForm},
		{"credentials and no scheme", "user:hunter2@localhost:6379", `has no scheme; ` + hintForm},
		{"another protocol", "http://user:hunter2@redis:6379", `has an unknown scheme; ` + hintForm},
		{"a scheme of other clients", "redis-sentinel://:hunter2@localhost", `has an unknown scheme; ` + hintForm},
		{"TLS as other clients write it", "tls://redis:6379", `has an unknown scheme; write rediss:// for TLS`},
		{"a scheme in upper case", "REDIS://redis:6379", `has a scheme that is not in lower case; write redis://`},
		{"no host", "redis://:6379", `has no host; ` + hintForm},
		{"port 0", "redis://redis:0", `has a port that is not 1 to 65535; ` + hintForm},
		{"two hosts", "redis://a:6379,b:6379", `has several hosts, or a host with a character that host names cannot have; ` + hintForm + "; " + hintEncode},
		{"a port that is not a number", "redis://redis:main", `is not a URL; ` + hintForm + "; " + hintEncode},
		{"a space in the host", "redis://user:hunter2@local host", `is not a URL; ` + hintForm + "; " + hintEncode},
		{"a % in the password", "redis://user:hunter2%zz@localhost", `is not a URL; ` + hintForm + "; " + hintEncode},
		{"a # in the password", "redis://user:hunter2#x@localhost", `is not a URL; ` + hintForm + "; " + hintEncode},
		{"a / in the password", "redis://user:hunter2/x@localhost", `is not a URL; ` + hintForm + "; " + hintEncode},
		{"a / in a password of digits", "redis://u:12/34@redis", `has something other than a database number after the host; ` + hintEncode},
		{"a ? in a password of digits", "redis://u:12?34@redis", `has something other than a database number after the host; ` + hintEncode},
		{"a # in a password of digits", "redis://u:12#34@redis", `has something other than a database number after the host; ` + hintEncode},
		{"a database that is not a number", "redis://redis/main", `has something other than a database number after the host; ` + hintEncode},
		{"two slashes for a socket", "unix://var/run/redis.sock", `has a host before the path; write unix:///path with three slashes`},
		{"no path", "unix:///", `has no path; write unix:///path`},
		{"a # in a path", "unix:///a#b", `has a # or an @ in the path or after it; ` + hintEncode},
		{"an @ in a path", "unix:///a@b", `has a # or an @ in the path or after it; ` + hintEncode},
		{"an option of go-redis", "redis://localhost?pool_size=3", `has an option that is not supported; ` + hintOptions},
		{"an unknown option", "redis://localhost?hunter2=3", `has an option that is not supported; ` + hintOptions},
		{"a password as an option", "redis://localhost?password=hunter2", `has an option that is not supported; ` + hintOptions},
		{"skip_verify without TLS", "redis://localhost?skip_verify=true", `has an option that is not supported; ` + hintOptions},
		{"skip_verify neither true nor false", "rediss://localhost?skip_verify=hunter2",
			`has a skip_verify option that is neither true nor false; write true or false, or remove it`},
		{"another protocol version", "redis://localhost?protocol=4", `has a protocol option that is neither 2 nor 3; write 2 or 3, or remove it`},
		{"a protocol that is not a number", "redis://localhost?protocol=hunter2",
			`has a protocol option that is neither 2 nor 3; write 2 or 3, or remove it`},
		{"a db that is not a number", "redis://localhost?db=hunter2", `has a db option that is not a number; write a database number; ` + hintEncode},
	} {
		u, err := Parse(tt.text)
		if _, ok := errors.AsType[*syntax.Error](err); !ok || u != nil || err.Error() != tt.want {
			t.Errorf("%s: %v\nwant: %s", tt.comment, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error contains the secret: %v", tt.comment, err)
		}
	}
}

func TestCheckRejects(t *testing.T) {
	for _, tt := range []struct {
		comment string
		mode    Mode
		text    string
		want    string // the beginning of the problem
	}{
		{"several nodes of a single Redis", Standalone, "redis://a?addr=b:1", "has an addr or a master_name"},
		{"a master of a single Redis", Standalone, "redis://a?master_name=main", "has an addr or a master_name"},
		{"an empty master of a single Redis", Standalone, "redis://a?master_name=", "has an addr or a master_name"},
		{"a master in a cluster", Cluster, "redis://a?master_name=main", "has a master_name"},
		{"a database in a cluster", Cluster, "redis://a/1", "has a database number"},
		{"a database in a cluster, as an option", Cluster, "redis://a?db=1", "has a database number"},
		{"the socket of a cluster", Cluster, "unix:///run/redis.sock", "is a Unix socket"},
		{"the socket of a Sentinel", Sentinel, "unix:///run/redis.sock?master_name=main", "is a Unix socket"},
		{"no master", Sentinel, "redis://a:1", "has no master_name"},
		{"a node without a port", Sentinel, "redis://a:1?master_name=main&addr=b", "has an addr that is not host:port"},
		{"a node without a host", Cluster, "redis://a:1?addr=:1", "has an addr that is not host:port"},
	} {
		u, err := Parse(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.comment, err)
			continue
		}
		rejected, ok := errors.AsType[*syntax.Error](u.Check(tt.mode))
		if !ok || !strings.HasPrefix(rejected.Problem, tt.want) || rejected.Hint == "" {
			t.Errorf("%s: %v, want %q", tt.comment, rejected, tt.want)
		}
	}
}

// FuzzRedisURL: whatever is in the place of the password, the error does not
// repeat it and the shown URL lacks it. The tests of package config print URLs
// in every way.
func FuzzRedisURL(f *testing.F) {
	const canary = "hunter2canary"
	leaks := func(text string) bool { return strings.Contains(strings.ToLower(text), canary) }
	for _, seed := range []string{"", "/", "?", "#", "@", "%", "12/", "@/", ":1,", "[", "]:1/", "\\", " ", "%40", "@redis?", "@redis/0#"} {
		f.Add(seed, "")
		f.Add("", seed)
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		for scheme, rest := range map[string]string{"redis": "@host/0", "rediss": "@host", "unix": "@/run/redis.sock"} {
			text := scheme + "://user:" + before + canary + after + rest
			u, err := Parse(text)
			if err != nil {
				if leaks(err.Error()) || u != nil {
					t.Errorf("%q: %v", text, err)
				}
				continue
			}
			if leaks(u.String()) {
				t.Errorf("%q is shown as %q", text, u)
			}
			for _, mode := range []Mode{Standalone, Sentinel, Cluster} {
				if err := u.Check(mode); err != nil && leaks(err.Error()) {
					t.Errorf("%q: %v", text, err)
				}
			}
		}
	})
}
