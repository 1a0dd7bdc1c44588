package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every fault there is, with all that is told of it. Each row is told alone: nothing else is wrong, and one cause makes
// one fault.
func TestFaults(t *testing.T) {
	notPEM := writeFile(t, "not.pem", "hello")
	missing := filepath.Join(t.TempDir(), "missing.pem")
	_, notFound := os.Open(missing)
	for _, tt := range []struct {
		set  string // beside realRedis
		want string // the prefix left out
	}{
		// Listeners
		{"EMBEDDED=maybe", `EMBEDDED: "maybe" is not a value that it takes; write auto, true or false`},
		{"LISTEN=8080", `LISTEN: "8080" is a port alone; write :8080`},
		{"LISTEN=localhost", `LISTEN: "localhost" is not an address; write host:port or :port, and [::1]:port for IPv6`},
		{"LISTEN=http://:8080", `LISTEN: "http://:8080" is not an address; write host:port or :port, without a scheme or a path`},
		{"LISTEN=::1:8080", `LISTEN: "::1:8080" is not an address; write host:port or :port, and [::1]:port for IPv6`},
		{"LISTEN=:65536", `LISTEN: ":65536" has a port that is not 0 to 65535; write host:port or :port`},
		{"LISTEN=:http", `LISTEN: ":http" has a port that is not 0 to 65535; write host:port or :port`},
		{"ADMIN_LISTEN=0.0.0.0:8080", `ADMIN_LISTEN: has the same port as SIDECAST_LISTEN; write another port`},
		{"BASE_PATH=live", `BASE_PATH: "live" does not begin with a slash; write /live`},
		{"BASE_PATH=/live/", `BASE_PATH: "/live/" ends with a slash; write /live`},
		{"BASE_PATH=/", `BASE_PATH: is the root; unset it; no path is the default`},
		{"BASE_PATH=/a/../b", `BASE_PATH: "/a/../b" is not a plain path; write letters, digits and - . _ ~ between single slashes, like /live`},
		{"BASE_PATH=/{x}", `BASE_PATH: "/{x}" is not a plain path; write letters, digits and - . _ ~ between single slashes, like /live`},
		{"BASE_PATH=//live", `BASE_PATH: "//live" is not a plain path; write letters, digits and - . _ ~ between single slashes, like /live`},
		{"BASE_PATH=https://x/live", `BASE_PATH: "https://x/live" does not begin with a slash; write a path like /live`},

		// Redis
		{"REDIS_URL=redis:6379", `REDIS_URL: has no scheme; write redis://redis:6379`},
		{"REDIS_URL=10.0.0.5:6379", `REDIS_URL: has no scheme; write redis://10.0.0.5:6379`},
		{"REDIS_URL=redis", `REDIS_URL: has no scheme; ` + writeURL},
		{"REDIS_URL=http://redis:6379", `REDIS_URL: has a scheme that go-redis does not know; ` + writeURL},
		{"REDIS_URL=tcp://redis:6379", `REDIS_URL: has a scheme that go-redis does not know; ` + writeURL},
		{"REDIS_URL=tls://redis:6379", `REDIS_URL: has a scheme that go-redis does not know; write rediss:// for TLS`},
		{"REDIS_URL=redis://:6379", `REDIS_URL: names no host; ` + writeURL},
		{"REDIS_URL=redis://redis:0", `REDIS_URL: has a port that is not 1 to 65535; ` + writeURL},
		{"REDIS_URL=redis://a:6379,b:6379", `REDIS_URL: has more than one host, or one with letters that no host has; ` + writeURL + "; " + writeEncoded},
		{"REDIS_URL=redis://redis:main", `REDIS_URL: is not a URL; ` + writeURL + "; " + writeEncoded},
		{"REDIS_URL=redis://redis/main", `REDIS_URL: has something other than a database number behind the host; ` + writeEncoded},
		{"REDIS_URL=redis://u:12/34@redis", `REDIS_URL: has something other than a database number behind the host; ` + writeEncoded},
		{"REDIS_URL=unix://var/run/redis.sock", `REDIS_URL: has a host before the path; write unix:///path with three slashes`},
		{"REDIS_URL=unix:///", `REDIS_URL: names no path; write unix:///path`},
		{"REDIS_URL=unix:///a#b", `REDIS_URL: has a # or an @ where none belongs; ` + writeEncoded},
		{"REDIS_URL=redis://relay@redis", `REDIS_URL: names a user without a password; set SIDECAST_REDIS_PASSWORD; a password alone is written redis://:password@host`},
		{"REDIS_URL=redis://relay:@redis", `REDIS_URL: names a user without a password; set SIDECAST_REDIS_PASSWORD; a password alone is written redis://:password@host`},
		{"REDIS_USERNAME=relay", `REDIS_USERNAME: names a user without a password; set SIDECAST_REDIS_PASSWORD; a password alone is written redis://:password@host`},
		{"REDIS_CA=" + missing, `REDIS_CA: reading ` + echo(missing) + `: ` + reason(notFound) + `; name a file that this user can read`},
		{"REDIS_CA=" + notPEM, `REDIS_CA: ` + echo(notPEM) + ` holds no certificate; name a PEM file with BEGIN CERTIFICATE in it`},
		{"REDIS_CA=-----BEGIN CERTIFICATE-----", `REDIS_CA: is a certificate itself; write the path of a file that holds it`},
		{"REDIS_CA=" + certificateFile(t), `REDIS_CA: is set, but SIDECAST_REDIS_URL does not use TLS; write rediss:// there, or unset this`},
		{"REDIS_MODE=replica", `REDIS_MODE: "replica" is not a value that it takes; write standalone, sentinel or cluster`},
		{"REDIS_SENTINEL_USERNAME=x", `REDIS_SENTINEL_USERNAME: is set, but SIDECAST_REDIS_MODE is standalone; set SIDECAST_REDIS_MODE=sentinel, or unset this`},
		{"REDIS_SENTINEL_PASSWORD=x", `REDIS_SENTINEL_PASSWORD: is set, but SIDECAST_REDIS_MODE is standalone; set SIDECAST_REDIS_MODE=sentinel, or unset this`},
		{"REDIS_PROTOCOL=4", `REDIS_PROTOCOL: "4" is not a value that it takes; write 2 or 3`},
		{"REDIS_PROTOCOL=resp3", `REDIS_PROTOCOL: "resp3" is not a value that it takes; write 2 or 3`},
		{"MARKERS=true", `MARKERS: "true" is not a value that it takes; write auto or false`},

		{"TLS_KEY=-----BEGIN PRIVATE KEY-----", `TLS_KEY: is a key itself; write the path of a file that holds it`},
		{"TLS_KEY=" + notPEM, `TLS_KEY: ` + echo(notPEM) + ` holds no key; name a PEM file with BEGIN PRIVATE KEY in it`},
		{"TLS_KEY=" + missing, `TLS_KEY: reading ` + echo(missing) + `: ` + reason(notFound) + `; name a file that this user can read`},
		{"MAX_CONNECTIONS_PER_IP=-1", `MAX_CONNECTIONS_PER_IP: "-1" is not a whole number; write digits alone, like 1000`},
		{"MAX_CONNECT_RATE_PER_IP=1000001", `MAX_CONNECT_RATE_PER_IP: 1000001 is too much; write 1000000 or less`},

		// Channels and rights
		{"CHANNELS=, ,", `CHANNELS: is a list without items; write them with commas between, or unset it`},
		{"CHANNELS=a\nb", `CHANNELS: has a control character in it, perhaps a line break; write it on one line`},
		{"CHANNELS=chat:\xff", `CHANNELS: is not UTF-8; write it in UTF-8`},
		{"CHANNEL_PREFIX=__app", `CHANNEL_PREFIX: begins with __ or with SIDECAST_KEY_PREFIX: every channel would be reserved; write another prefix`},
		{"CHANNEL_PREFIX=sidecast:app:", `CHANNEL_PREFIX: begins with __ or with SIDECAST_KEY_PREFIX: every channel would be reserved; write another prefix`},
		{"KEY_PREFIX=" + strings.Repeat("x", 129), `KEY_PREFIX: is longer than 128 bytes; write a shorter one`},
		{"CHANNEL_PREFIX=" + strings.Repeat("x", 129), `CHANNEL_PREFIX: is longer than 128 bytes; write a shorter one`},
		{"DEFAULT_CHANNELS=" + strings.Repeat("a,", 129), `DEFAULT_CHANNELS: names more channels than SIDECAST_MAX_CHANNELS_PER_SESSION permits; write fewer, or raise that`},

		{"USER_CHANNELS=user:{user}:*", `USER_CHANNELS: has a pattern in it, and these are names to be joined; write names like user:{user}; patterns are for a user's grants`},
		{"PUBLISH_FORMAT=xml", `PUBLISH_FORMAT: "xml" is not a value that it takes; write raw or json`},

		// Tokens
		{"JWT_PREVIOUS_SECRET=x", `JWT_PREVIOUS_SECRET: is set, but SIDECAST_JWT_SECRET is not; set that, or unset this`},
		{"JWT_PUBLIC_KEY=" + missing, `JWT_PUBLIC_KEY: the file that it names cannot be read: ` + reason(notFound) + `; ` + writeKey},
		{"JWT_PUBLIC_KEY=" + notPEM, `JWT_PUBLIC_KEY: is not PEM; ` + writeKey},
		{"JWT_PUBLIC_KEY=a\nb", `JWT_PUBLIC_KEY: is neither PEM nor a path; ` + writeKey},
		{"JWT_PUBLIC_KEY=-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----", `JWT_PUBLIC_KEY: is a private key, which only the application should have; ` + writeKey},
		{"JWT_JWKS_URL=id.example.com", `JWT_JWKS_URL: is not an http or https URL; ` + writeWebURL},
		{"JWT_JWKS_URL=http://id.example.com", `JWT_JWKS_URL: would bring keys in the clear; write https://, or a URL on this machine`},
		{"JWT_JWKS_URL=https://u:hunter2@id.example.com", `JWT_JWKS_URL: has a user in it; ` + writeWebURL},
		{"JWT_JWKS_URL=https://id.example.com#x", `JWT_JWKS_URL: has a # in it; ` + writeWebURL},
		{"JWT_JWKS_URL=https://id.example.com:0", `JWT_JWKS_URL: has a port that is not 1 to 65535; ` + writeWebURL},
		{"JWT_ALGORITHMS=HS256", `JWT_ALGORITHMS: is set, but no key that verifies tokens; set SIDECAST_JWT_SECRET, SIDECAST_JWT_PUBLIC_KEY or SIDECAST_JWT_JWKS_URL, or unset this`},
		{"JWT_COOKIE=a b", `JWT_COOKIE: "a b" is not a cookie's name; write letters, digits, - and _`},

		// The application's login
		{"AUTH_URL=/live", `AUTH_URL: is not an http or https URL; ` + writeWebURL},
		{"CHANNEL_AUTH_URL=ftp://app", `CHANNEL_AUTH_URL: is not an http or https URL; ` + writeWebURL},
		{"AUTH_TIMEOUT=1s", `AUTH_TIMEOUT: is set, but no URL to ask; set SIDECAST_AUTH_URL or SIDECAST_CHANNEL_AUTH_URL, or unset this`},
		{"AUTH_CACHE=11m", `AUTH_CACHE: 11m is too much; write 10m or less`},
		{"AUTH_CONCURRENCY=0", `AUTH_CONCURRENCY: 0 is too little; write 1 or more`},

		// Browsers and proxies
		{"ALLOWED_ORIGINS=app.example.com", `ALLOWED_ORIGINS: "app.example.com" has no scheme; write https://app.example.com`},
		{"ALLOWED_ORIGINS=//app.example.com/x", `ALLOWED_ORIGINS: "//app.example.com/x" has no scheme; write https://app.example.com`},
		{"ALLOWED_ORIGINS=https://a.example.com/", `ALLOWED_ORIGINS: "https://a.example.com/" is more than an origin; write https://a.example.com`},
		{"ALLOWED_ORIGINS=https://a.example.com?x", `ALLOWED_ORIGINS: "https://a.example.com?x" is more than an origin; write https://a.example.com`},
		{"ALLOWED_ORIGINS=https://a.example.com#", `ALLOWED_ORIGINS: "https://a.example.com#" is more than an origin; write https://a.example.com`},
		{"ALLOWED_ORIGINS=wss://a.example.com", `ALLOWED_ORIGINS: "wss://a.example.com" is the address of a socket, not of a page; write https://a.example.com`},
		{"ALLOWED_ORIGINS=*,https://a.example.com", `ALLOWED_ORIGINS: has * beside other origins; write * alone for all pages, or only the others`},
		{"ALLOWED_ORIGINS=null", `ALLOWED_ORIGINS: "null" is sent by pages of anyone; leave it out`},
		{"ALLOWED_ORIGINS=https://", `ALLOWED_ORIGINS: "https://" is not an origin; ` + writeOrigin},
		{"ALLOWED_ORIGINS=https://a.example.com:0", `ALLOWED_ORIGINS: "https://a.example.com:0" has a port that is not 1 to 65535; ` + writeOrigin},
		{"ALLOWED_ORIGINS=https://bücher.example", `ALLOWED_ORIGINS: "https://bücher.example" has letters beyond ASCII; write the host as browsers send it, xn--...`},
		{"ALLOWED_ORIGINS=http://*.example.com", `ALLOWED_ORIGINS: "http://*.example.com" has a wildcard that is not plain https; write https://*.example.com`},
		{"ALLOWED_ORIGINS=https://*.example.com:8443", `ALLOWED_ORIGINS: "https://*.example.com:8443" has a wildcard that is not plain https; write https://*.example.com`},
		{"ALLOWED_ORIGINS=https://a.*.example.com", `ALLOWED_ORIGINS: "https://a.*.example.com" has its wildcard elsewhere than as the first part; write https://*.example.com`},
		{"ALLOWED_ORIGINS=https://*example.com", `ALLOWED_ORIGINS: "https://*example.com" has its wildcard elsewhere than as the first part; write https://*.example.com`},
		{"ALLOWED_ORIGINS=https://*.com", `ALLOWED_ORIGINS: "https://*.com" covers a whole top-level domain; write https://*.example.com`},
		{"ALLOWED_ORIGINS=https://u:hunter2@a.example.com", `ALLOWED_ORIGINS: has an origin with a user in it; ` + writeOrigin},
		{"TRUSTED_PROXIES=nginx", `TRUSTED_PROXIES: "nginx" is neither an address nor a CIDR range; write like 10.0.0.5 or 10.0.0.0/8`},
		{"TRUSTED_PROXIES=10.0.0.0/33", `TRUSTED_PROXIES: "10.0.0.0/33" is neither an address nor a CIDR range; write like 10.0.0.5 or 10.0.0.0/8`},
		{"TRUSTED_PROXIES=fe80::1%eth0", `TRUSTED_PROXIES: "fe80::1%eth0" is neither an address nor a CIDR range; write like 10.0.0.5 or 10.0.0.0/8`},
		{"TRUSTED_PROXIES=10.0.0.5/8", `TRUSTED_PROXIES: "10.0.0.5/8" has an address inside the range where its first belongs; write 10.0.0.0/8 for the range or 10.0.0.5 for the address`},

		// Limits
		{"MAX_CONNECTIONS=0", `MAX_CONNECTIONS: 0 is too little; write 1 or more, or auto`},
		{"MAX_CONNECTIONS=50k", `MAX_CONNECTIONS: "50k" is not a whole number; write digits alone, like 1000`},
		{"MAX_CONNECTIONS=10000001", `MAX_CONNECTIONS: 10000001 is too much; write 10000000 or less`},
		{"MAX_CHANNELS_PER_SESSION=0", `MAX_CHANNELS_PER_SESSION: 0 is too little; write 1 or more`},
		{"MAX_CHANNELS_PER_SESSION=-1", `MAX_CHANNELS_PER_SESSION: "-1" is not a whole number; write digits alone, like 1000`},
		{"MAX_CHANNELS_PER_SESSION=99999999999", `MAX_CHANNELS_PER_SESSION: "99999999999" is too much; write a smaller number`},
		{"MAX_INBOUND_BYTES=16KB", `MAX_INBOUND_BYTES: "16KB" has a unit that it does not take; write 16KiB`},
		{"MAX_INBOUND_BYTES=0", `MAX_INBOUND_BYTES: 0 is too little; write 128 or more`},
		{"MAX_INBOUND_BYTES=1GiB", `MAX_INBOUND_BYTES: 1GiB is too much; write 16MiB or less`},
		{"MAX_PAYLOAD_BYTES=1.5MiB", `MAX_PAYLOAD_BYTES: "1.5MiB" is not a size; write bytes, or a whole number and KiB, MiB or GiB, like 64MiB`},
		{"MAX_PAYLOAD_BYTES=1", `MAX_PAYLOAD_BYTES: 1 is too little; write 128 or more`},
		{"OUTBOX_BYTES=1MiB", `OUTBOX_BYTES: 1MiB is less than twice SIDECAST_MAX_PAYLOAD_BYTES; write 2MiB or more, or lower that`},
		{"MAX_PAYLOAD_BYTES=4MiB", `OUTBOX_BYTES: 2MiB is less than twice SIDECAST_MAX_PAYLOAD_BYTES; write 8MiB or more, or lower that`},
		{"OUTBOX_TOTAL_BYTES=1MiB", `OUTBOX_TOTAL_BYTES: 1MiB is less than SIDECAST_OUTBOX_BYTES; write 2MiB or more, or lower that`},
		{"OUTBOX_TOTAL_BYTES=99999999TiB", `OUTBOX_TOTAL_BYTES: "99999999TiB" is too much; write a smaller size`},
		{"WRITE_TIMEOUT=5", `WRITE_TIMEOUT: "5" has no unit; write 5s`},
		{"WRITE_TIMEOUT=soon", `WRITE_TIMEOUT: "soon" is not a duration; write a number and ms, s, m or h, like 10s`},
		{"WRITE_TIMEOUT=0", `WRITE_TIMEOUT: 0s is too little; write 100ms or more`},
		{"PING_INTERVAL=25", `PING_INTERVAL: "25" has no unit; write 25s`},
		{"PING_INTERVAL=5s", `PONG_TIMEOUT: 10s is not less than SIDECAST_PING_INTERVAL, 5s; write less, or raise that`},
		{"PONG_TIMEOUT=25s", `PONG_TIMEOUT: 25s is not less than SIDECAST_PING_INTERVAL, 25s; write less, or raise that`},
		{"COMMAND_RATE=20/s", `COMMAND_RATE: "20/s" has a unit; write 20, which is a second`},
		{"COMMAND_RATE=0", `COMMAND_RATE: 0 is too little; write 1 or more`},

		// Stopping
		{"DRAIN_DELAY=-1s", `DRAIN_DELAY: -1s is too little; write 0s or more`},
		{"DRAIN_TIMEOUT=61m", `DRAIN_TIMEOUT: 1h1m is too much; write 1h or less`},

		// Operations
		{"READY_NEEDS_REDIS=yes", `READY_NEEDS_REDIS: "yes" is neither true nor false; write true or false`},
		{"DEMO=on", `DEMO: "on" is neither true nor false; write true or false`},
		{"ADMIN_TOKEN=two words", `ADMIN_TOKEN: has white space or letters beyond ASCII in it, which no HTTP header carries; write printable ASCII alone`},
		{"LOG_LEVEL=warning", `LOG_LEVEL: "warning" is not a value that it takes; write debug, info, warn or error`},
		{"LOG_LEVEL=info+2", `LOG_LEVEL: "info+2" is not a value that it takes; write debug, info, warn or error`},
		{"LOG_FORMAT=xml", `LOG_FORMAT: "xml" is not a value that it takes; write auto, text or json`},

		// A long value is cut.
		{"LOG_FORMAT=" + strings.Repeat("x", 100), `LOG_FORMAT: "` + strings.Repeat("x", 60) + `..." is not a value that it takes; write auto, text or json`},
	} {
		t.Run(tt.set, func(t *testing.T) {
			variables := env(realRedis...)
			name, value, _ := strings.Cut(tt.set, "=")
			variables[Prefix+name] = value
			if got := faultsOf(t, variables).Error(); got != Prefix+tt.want {
				t.Errorf("told:\n%s\nwant:\n%s", got, Prefix+tt.want)
			}
		})
	}
}

// What each mode requires and forbids.
func TestModes(t *testing.T) {
	for _, tt := range []struct {
		comment string
		set     []string
		want    []string // the variables at fault
	}{
		{"nothing set: embedded", nil, nil},
		{"asked for", []string{"EMBEDDED=true"}, nil},
		{"an explicit address is obeyed in embedded mode", []string{"LISTEN=:8080"}, nil},
		{"both", []string{"EMBEDDED=true", "REDIS_URL=redis://redis"}, []string{"EMBEDDED"}},
		{"neither", []string{"EMBEDDED=false", "CHANNELS=*", "PUBLIC_CHANNELS=*"}, []string{"REDIS_URL"}},
		{"a real Redis opens nothing by itself", []string{"REDIS_URL=redis://redis"}, []string{"CHANNELS", "PUBLIC_CHANNELS"}},
		{"streams alone are enough", []string{"REDIS_URL=redis://redis", "DURABLE_CHANNELS=*", "PUBLIC_CHANNELS=*"}, nil},
		{"nobody could hear anything", []string{"REDIS_URL=redis://redis", "CHANNELS=*"}, []string{"PUBLIC_CHANNELS"}},
		{"who logs in can hear something", []string{"REDIS_URL=redis://redis", "CHANNELS=*", "JWT_SECRET=x"}, nil},
		{"two kinds of key", []string{"JWT_SECRET=x", "JWT_JWKS_URL=https://id.example.com"}, []string{"JWT_JWKS_URL"}},
		{"any page with anybody's cookie", []string{"JWT_SECRET=x", "JWT_COOKIE=t", "ALLOWED_ORIGINS=*"}, []string{"ALLOWED_ORIGINS"}},
		{"any page with anybody's login", []string{"AUTH_URL=http://app", "ALLOWED_ORIGINS=*"}, []string{"ALLOWED_ORIGINS"}},
		{"who logs in at the application can hear something", []string{"REDIS_URL=redis://redis", "CHANNELS=*", "AUTH_URL=http://app"}, nil},
		{"any page with a token of its own", []string{"JWT_SECRET=x", "ALLOWED_ORIGINS=*"}, nil},
		{"a URL that cannot be read is still a wish for a real Redis", []string{"REDIS_URL=redis"},
			[]string{"REDIS_URL", "CHANNELS", "PUBLIC_CHANNELS"}},
		{"what is set wrongly is not unset too", []string{"REDIS_URL=redis://redis", "CHANNELS=", "PUBLIC_CHANNELS=,"},
			[]string{"CHANNELS", "PUBLIC_CHANNELS"}},
		{"a mode without a URL would go unused", []string{"REDIS_MODE=cluster"}, []string{"REDIS_MODE"}},
		{"a Sentinel's user needs a password", append([]string{"REDIS_MODE=sentinel", "REDIS_SENTINEL_USERNAME=x"}, realRedis...),
			[]string{"REDIS_SENTINEL_USERNAME"}},
		{"credentials without a URL would go unused", []string{"REDIS_PASSWORD=x", "REDIS_USERNAME=y"},
			[]string{"REDIS_USERNAME", "REDIS_PASSWORD"}},
	} {
		var got []string
		for _, f := range faultsOf(t, env(tt.set...)) {
			got = append(got, strings.TrimPrefix(f.Name, Prefix))
		}
		if strings.Join(got, " ") != strings.Join(tt.want, " ") {
			t.Errorf("%s: at fault %v, want %v", tt.comment, got, tt.want)
		}
	}
}

// The credentials that go-redis would send are complete in each of these.
func TestCredentials(t *testing.T) {
	for _, set := range [][]string{
		{"REDIS_URL=redis://:pw@redis"},
		{"REDIS_URL=redis://relay:pw@redis"},
		{"REDIS_URL=redis://relay@redis", "REDIS_PASSWORD=pw"},
		{"REDIS_URL=redis://:pw@redis", "REDIS_USERNAME=relay"},
		{"REDIS_URL=unix://relay:pw@/run/redis.sock?db=3"},
		{"REDIS_URL=rediss://redis:6380/1?protocol=3"},
		{"REDIS_URL=redis://[::1]:6379/0"},
		{"REDIS_URL=redis://redis/"},
	} {
		if faults := faultsOf(t, env(append(set, "CHANNELS=*", "PUBLIC_CHANNELS=*")...)); len(faults) > 0 {
			t.Errorf("%v: %v", set, faults)
		}
	}
}

// Every setting refuses to be set but empty, and every secret its file's name.
func TestSetButEmpty(t *testing.T) {
	for _, s := range settings() {
		names := []string{s.variable()}
		if s.secret {
			names = append(names, s.variable()+fileSuffix)
		}
		for _, name := range names {
			for _, empty := range []string{"", "  ", "\r\n"} {
				variables := env(realRedis...)
				if delete(variables, s.variable()); name == s.variable() || s.secret {
					variables[name] = empty
				}
				faults := faultsOf(t, variables)
				if len(faults) != 1 || faults[0].Name != s.variable() || !strings.Contains(faults[0].Error(), "empty") {
					t.Errorf("%s=%q: %v", name, empty, faults)
				}
			}
		}
	}
}

// What the caller adds takes its place among the rest, and each is found by errors.AsType.
func TestFaultsAdd(t *testing.T) {
	faults := faultsOf(t, env("LISTEN=1", "LOG_LEVEL=x"))
	faults.Add("CHANNELS", "pattern is wrong", "write another")
	faults.Add("DEMO", "cannot be", "")
	want := []string{"SIDECAST_LISTEN", "SIDECAST_CHANNELS", "SIDECAST_DEMO", "SIDECAST_LOG_LEVEL"}
	err := faults.Err()
	sorted, ok := errors.AsType[Faults](err)
	if !ok || len(sorted) != len(want) {
		t.Fatalf("Err = %v", err)
	}
	for i, f := range sorted {
		if f.Name != want[i] {
			t.Errorf("fault %d is of %s, want %s", i, f.Name, want[i])
		}
	}
	if sorted[2].Error() != "SIDECAST_DEMO: cannot be" {
		t.Errorf("without a remedy: %q", sorted[2].Error())
	}
	if first, ok := errors.AsType[Fault](err); !ok || first.Name != want[0] {
		t.Errorf("AsType[Fault] = %v, %v", first, ok)
	}
	if err := (Faults{}).Err(); err != nil {
		t.Errorf("no faults are %v", err)
	}
}

// Beside faults the Config can be asked for more of them: what could not be read is zero, the rest is there.
func TestConfigBesideFaults(t *testing.T) {
	setenv(t, env("WRITE_TIMEOUT=5", "CHANNELS=a,b"))
	c, _, err := Load()
	if err == nil || c == nil || c.WriteTimeout != 0 || c.Channels.String() != "a,b" {
		t.Errorf("Config %+v, error %v", c, err)
	}
}

// One cause makes one fault: a relation with a setting that could not be read says nothing.
func TestNoFaultsThatFollow(t *testing.T) {
	faults := faultsOf(t, env("MAX_PAYLOAD_BYTES=8MiB", "OUTBOX_BYTES=lots", "PING_INTERVAL=1", "KEY_PREFIX=", "CHANNEL_PREFIX=x"))
	if len(faults) != 3 {
		t.Errorf("three are wrong, told:\n%v", faults)
	}
}

// Validate finds the relations by itself and changes nothing.
func TestValidateIsPure(t *testing.T) {
	c := mustLoad(t, env(realRedis...))
	if faults := c.Validate(); len(faults) > 0 {
		t.Errorf("a good Config has %v", faults)
	}
	c.OutboxTotalBytes = 1
	before := c.Effective()
	first, second := c.Validate(), c.Validate()
	if len(first) != 1 || first.Error() != second.Error() || len(c.Effective()) != len(before) {
		t.Errorf("twice: %v, then %v", first, second)
	}
}
