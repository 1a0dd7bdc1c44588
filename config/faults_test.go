package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/syntax"
)

// TestFaults has one row for every fault. Each row has exactly one fault,
// because one mistake must not be reported twice.
func TestFaults(t *testing.T) {
	notPEM := writeFile(t, "not.pem", "hello")
	missing := filepath.Join(t.TempDir(), "missing.pem")
	_, notFound := os.Open(missing)
	for _, tt := range []struct {
		set  string // in addition to realRedis
		want string // without the prefix
	}{
		// Listeners
		{"EMBEDDED=maybe", `EMBEDDED: "maybe" is not an allowed value; write auto, true or false`},
		{"LISTEN=8080", `LISTEN: "8080" is only a port; write :8080`},
		{"LISTEN=localhost", `LISTEN: "localhost" is not an address; write host:port or :port, and [::1]:port for IPv6`},
		{"LISTEN=http://:8080", `LISTEN: "http://:8080" is not an address; write host:port or :port, without a scheme or a path`},
		{"LISTEN=::1:8080", `LISTEN: "::1:8080" is not an address; write host:port or :port, and [::1]:port for IPv6`},
		{"LISTEN=:65536", `LISTEN: ":65536" has a port that is not 0 to 65535; write host:port or :port`},
		{"LISTEN=:http", `LISTEN: ":http" has a port that is not 0 to 65535; write host:port or :port`},
		{"ADMIN_LISTEN=0.0.0.0:8080", `ADMIN_LISTEN: has the same port as SIDECAST_LISTEN; write another port`},
		{"BASE_PATH=live", `BASE_PATH: "live" does not begin with a slash; write /live`},
		{"BASE_PATH=/live/", `BASE_PATH: "/live/" ends with a slash; write /live`},
		{"BASE_PATH=/", `BASE_PATH: is /, which adds no prefix; unset it`},
		{"BASE_PATH=/a/../b", `BASE_PATH: "/a/../b" is not a plain path; write letters, digits and - . _ ~ between single slashes, like /live`},
		{"BASE_PATH=/{x}", `BASE_PATH: "/{x}" is not a plain path; write letters, digits and - . _ ~ between single slashes, like /live`},
		{"BASE_PATH=//live", `BASE_PATH: "//live" is not a plain path; write letters, digits and - . _ ~ between single slashes, like /live`},
		{"BASE_PATH=https://x/live", `BASE_PATH: "https://x/live" does not begin with a slash; write a path like /live`},

		// Redis
		//
		// relay/redisurl has a test for each problem of a URL.
		{"REDIS_URL=redis:6379", `REDIS_URL: has no scheme; write redis://redis:6379`},
		{"REDIS_URL=redis://redis?addr=b:1", `REDIS_URL: has an addr or a master_name, which only the modes sentinel and cluster use; set SIDECAST_REDIS_MODE, or remove them`},
		{"REDIS_MODE=sentinel", `REDIS_URL: has no master_name; write redis://sentinel-1:26379?addr=sentinel-2:26379&master_name=mymaster`},
		{"REDIS_URL=redis://relay@redis", `REDIS_URL: has a user without a password; set SIDECAST_REDIS_PASSWORD; to use a password without a user, write redis://:password@host`},
		{"REDIS_URL=redis://relay:@redis", `REDIS_URL: has a user without a password; set SIDECAST_REDIS_PASSWORD; to use a password without a user, write redis://:password@host`},
		{"REDIS_USERNAME=relay", `REDIS_USERNAME: is set without a password; set SIDECAST_REDIS_PASSWORD; to use a password without a user, write redis://:password@host`},
		{"REDIS_CA=" + missing, `REDIS_CA: names a file that cannot be read: ` + reason(notFound) + `; write the path of a file that this user can read`},
		{"REDIS_CA=" + notPEM, `REDIS_CA: ` + syntax.Quote(notPEM) + ` contains no certificate; write the path of a PEM file with BEGIN CERTIFICATE in it`},
		{"REDIS_CA=-----BEGIN CERTIFICATE-----", `REDIS_CA: is the certificate itself; write the path of a file that contains it`},
		{"REDIS_CA=" + certificateFile(t), `REDIS_CA: is set, but SIDECAST_REDIS_URL does not use TLS; write rediss:// in the URL, or unset SIDECAST_REDIS_CA`},
		{"REDIS_CERT=" + certificateFile(t), `REDIS_CERT: is set, but SIDECAST_REDIS_URL does not use TLS; write rediss:// in the URL, or unset SIDECAST_REDIS_CERT`},
		{"REDIS_KEY=-----BEGIN PRIVATE KEY-----", `REDIS_KEY: is the key itself; write the path of a file that contains it`},
		{"REDIS_MODE=replica", `REDIS_MODE: "replica" is not an allowed value; write standalone, sentinel or cluster`},
		{"REDIS_SENTINEL_USERNAME=x", `REDIS_SENTINEL_USERNAME: is set, but SIDECAST_REDIS_MODE is standalone; set SIDECAST_REDIS_MODE=sentinel, or unset SIDECAST_REDIS_SENTINEL_USERNAME`},
		{"REDIS_SENTINEL_PASSWORD=x", `REDIS_SENTINEL_PASSWORD: is set, but SIDECAST_REDIS_MODE is standalone; set SIDECAST_REDIS_MODE=sentinel, or unset SIDECAST_REDIS_SENTINEL_PASSWORD`},
		{"REDIS_PROTOCOL=4", `REDIS_PROTOCOL: "4" is not an allowed value; write 2 or 3`},
		{"REDIS_PROTOCOL=resp3", `REDIS_PROTOCOL: "resp3" is not an allowed value; write 2 or 3`},
		{"MARKERS=true", `MARKERS: "true" is not an allowed value; write auto or false`},

		{"TLS_KEY=-----BEGIN PRIVATE KEY-----", `TLS_KEY: is the key itself; write the path of a file that contains it`},
		{"TLS_KEY=" + notPEM, `TLS_KEY: ` + syntax.Quote(notPEM) + ` contains no private key; write the path of a PEM file with BEGIN PRIVATE KEY in it`},
		{"TLS_KEY=" + missing, `TLS_KEY: names a file that cannot be read: ` + reason(notFound) + `; write the path of a file that this user can read`},
		{"MAX_CONNECTIONS_PER_IP=-1", `MAX_CONNECTIONS_PER_IP: "-1" is not a whole number; write only digits, like 1000`},
		{"MAX_CONNECT_RATE_PER_IP=1000001", `MAX_CONNECT_RATE_PER_IP: 1000001 is above the maximum; write 1000000 or less`},

		// Channels and rights
		{"CHANNELS=, ,", `CHANNELS: is a list without items; separate items with commas, or unset it`},
		{"CHANNELS=a\nb", `CHANNELS: contains a control character, perhaps a line break; write it on one line`},
		{"CHANNELS=chat:\xff", `CHANNELS: is not valid UTF-8; write it in UTF-8`},
		{"CHANNEL_PREFIX=__app", `CHANNEL_PREFIX: begins with __ or with SIDECAST_KEY_PREFIX: every channel name would be reserved; write another prefix`},
		{"CHANNEL_PREFIX=sidecast:app:", `CHANNEL_PREFIX: begins with __ or with SIDECAST_KEY_PREFIX: every channel name would be reserved; write another prefix`},
		{"KEY_PREFIX=" + strings.Repeat("x", 129), `KEY_PREFIX: is longer than 128 bytes; write a shorter prefix`},
		{"CHANNEL_PREFIX=" + strings.Repeat("x", 129), `CHANNEL_PREFIX: is longer than 128 bytes; write a shorter prefix`},
		{"DEFAULT_CHANNELS=" + strings.Repeat("a,", 129), `DEFAULT_CHANNELS: lists more channels than SIDECAST_MAX_CHANNELS_PER_SESSION allows; list fewer, or increase SIDECAST_MAX_CHANNELS_PER_SESSION`},

		{"USER_CHANNELS=user:{user}:*", `USER_CHANNELS: contains a pattern, but users join these channels by name; write names like user:{user}; patterns belong in a user's grants`},
		{"USER_CHANNELS=sidecast:{user}", `USER_CHANNELS: "sidecast:{user}" is not a valid channel name; write names like user:{user}`},
		{"DEFAULT_CHANNELS=chat:1,news", `DEFAULT_CHANNELS: "news" is not a public channel; list channels that match SIDECAST_CHANNELS and SIDECAST_PUBLIC_CHANNELS`},
		{"PUBLISH_CHANNELS=ok:*,chat:[a", `PUBLISH_CHANNELS: "chat:[a": pattern has a [ without its ]; write \[ for a bracket; write Redis globs, as for PSUBSCRIBE`},
		{"PUBLIC_CHANNELS=chat:*,room:[{user}]", `PUBLIC_CHANNELS: "room:[{user}]": pattern has {user} between [ and ]; write it outside of them; write Redis globs, as for PSUBSCRIBE`},
		{"DURABLE_CHANNELS=room:[^a-{user}]", `DURABLE_CHANNELS: "room:[^a-{user}]": pattern has {user} between [ and ]; write it outside of them; write Redis globs, as for PSUBSCRIBE`},
		{"USER_CHANNELS=room:[{user}]", `USER_CHANNELS: contains a pattern, but users join these channels by name; write names like user:{user}; patterns belong in a user's grants`},
		{"PUBLISH_FORMAT=xml", `PUBLISH_FORMAT: "xml" is not an allowed value; write raw or json`},

		// Tokens
		{"JWT_SECRET=" + longSecret[:31], "JWT_SECRET: is shorter than 32 bytes, so that it can be guessed; make one with `openssl rand -base64 32`"},
		{"CHANNEL_SECRET=" + longSecret[:31], "CHANNEL_SECRET: is shorter than 32 bytes, so that it can be guessed; make one with `openssl rand -base64 32`"},
		{"CHANNEL_PREVIOUS_SECRET=" + longSecret, `CHANNEL_PREVIOUS_SECRET: is set, but SIDECAST_CHANNEL_SECRET is not; set SIDECAST_CHANNEL_SECRET, or unset SIDECAST_CHANNEL_PREVIOUS_SECRET`},
		{"JWT_PREVIOUS_SECRET=" + longSecret, `JWT_PREVIOUS_SECRET: is set, but SIDECAST_JWT_SECRET is not; set SIDECAST_JWT_SECRET, or unset SIDECAST_JWT_PREVIOUS_SECRET`},
		{"JWT_PUBLIC_KEY=" + missing, `JWT_PUBLIC_KEY: is not PEM, and cannot be read as a file: ` + reason(notFound) + `; ` + hintPublicKey},
		{"JWT_PUBLIC_KEY=" + notPEM, `JWT_PUBLIC_KEY: is not PEM; write a PEM block that begins with -----BEGIN PUBLIC KEY-----`},
		{"JWT_PUBLIC_KEY=a\nb", `JWT_PUBLIC_KEY: is neither PEM nor a path; ` + hintPublicKey},
		{"JWT_PUBLIC_KEY=-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----", `JWT_PUBLIC_KEY: is a private key, which only the application should have; write a PEM block that begins with -----BEGIN PUBLIC KEY-----`},
		{"JWT_JWKS_URL=id.example.com", `JWT_JWKS_URL: is not an http or https URL; ` + hintKeysURL},
		{"JWT_JWKS_URL=http://id.example.com", `JWT_JWKS_URL: would transfer keys without encryption; write https://, or a URL on this machine`},
		{"JWT_JWKS_URL=https://u:hunter2@id.example.com", `JWT_JWKS_URL: contains a user name; ` + hintKeysURL},
		{"JWT_JWKS_URL=https://id.example.com#x", `JWT_JWKS_URL: contains a #; ` + hintKeysURL},
		{"JWT_JWKS_URL=https://id.example.com:0", `JWT_JWKS_URL: has a port that is not 1 to 65535; ` + hintKeysURL},
		{"JWT_ALGORITHMS=HS256", `JWT_ALGORITHMS: is set, but there is no key that verifies tokens; set SIDECAST_JWT_SECRET, SIDECAST_JWT_PUBLIC_KEY or SIDECAST_JWT_JWKS_URL, or unset SIDECAST_JWT_ALGORITHMS`},
		{"JWT_COOKIE=a b", `JWT_COOKIE: "a b" is not a valid cookie name; write letters, digits, - and _`},

		// The application's login
		{"AUTH_URL=/live", `AUTH_URL: is not an http or https URL; ` + hintWebURL},
		{"CHANNEL_AUTH_URL=ftp://app", `CHANNEL_AUTH_URL: is not an http or https URL; ` + hintWebURL},
		{"AUTH_TIMEOUT=1s", `AUTH_TIMEOUT: is set, but there is no URL of the application; set SIDECAST_AUTH_URL or SIDECAST_CHANNEL_AUTH_URL, or unset SIDECAST_AUTH_TIMEOUT`},
		{"AUTH_CACHE=11m", `AUTH_CACHE: 11m is above the maximum; write 10m or less`},
		{"AUTH_CONCURRENCY=0", `AUTH_CONCURRENCY: 0 is below the minimum; write 1 or more`},
		{"REVOKED_AGE=30d", `REVOKED_AGE: "30d" is not a duration; write a number and ms, s, m or h, like 10s`},

		// Browsers and proxies
		//
		// relay/origin has a test for each problem of a list.
		{"ALLOWED_ORIGINS=app.example.com", `ALLOWED_ORIGINS: "app.example.com" has no scheme; write https://app.example.com`},
		{"TRUSTED_PROXIES=nginx", `TRUSTED_PROXIES: "nginx" is neither an address nor a CIDR range; write an address like 10.0.0.5, or a range like 10.0.0.0/8`},
		{"TRUSTED_PROXIES=10.0.0.0/33", `TRUSTED_PROXIES: "10.0.0.0/33" is neither an address nor a CIDR range; write an address like 10.0.0.5, or a range like 10.0.0.0/8`},
		{"TRUSTED_PROXIES=fe80::1%eth0", `TRUSTED_PROXIES: "fe80::1%eth0" is neither an address nor a CIDR range; write an address like 10.0.0.5, or a range like 10.0.0.0/8`},
		{"TRUSTED_PROXIES=10.0.0.5/8", `TRUSTED_PROXIES: "10.0.0.5/8" does not begin with the first address of its range; write 10.0.0.0/8 for the range, or 10.0.0.5 for the address`},

		// Limits
		{"MAX_CONNECTIONS=0", `MAX_CONNECTIONS: 0 is below the minimum; write 1 or more, or auto`},
		{"MAX_CONNECTIONS=50k", `MAX_CONNECTIONS: "50k" is not a whole number; write only digits, like 1000`},
		{"MAX_CONNECTIONS=10000001", `MAX_CONNECTIONS: 10000001 is above the maximum; write 10000000 or less`},
		{"MAX_CHANNELS_PER_SESSION=0", `MAX_CHANNELS_PER_SESSION: 0 is below the minimum; write 1 or more`},
		{"MAX_CHANNELS_PER_SESSION=-1", `MAX_CHANNELS_PER_SESSION: "-1" is not a whole number; write only digits, like 1000`},
		{"MAX_CHANNELS_PER_SESSION=99999999999", `MAX_CHANNELS_PER_SESSION: "99999999999" is too large; write a smaller number`},
		{"MAX_INBOUND_BYTES=16KB", `MAX_INBOUND_BYTES: "16KB" has a unit that is not supported; write 16KiB`},
		{"MAX_INBOUND_BYTES=0", `MAX_INBOUND_BYTES: 0 is below the minimum; write 128 or more`},
		{"MAX_INBOUND_BYTES=1GiB", `MAX_INBOUND_BYTES: 1GiB is above the maximum; write 16MiB or less`},
		{"MAX_PAYLOAD_BYTES=1.5MiB", `MAX_PAYLOAD_BYTES: "1.5MiB" is not a size; write bytes, or a whole number and KiB, MiB or GiB, like 64MiB`},
		{"MAX_PAYLOAD_BYTES=1", `MAX_PAYLOAD_BYTES: 1 is below the minimum; write 128 or more`},
		{"OUTBOX_BYTES=2MiB", `OUTBOX_BYTES: 2MiB is too small for two messages of SIDECAST_MAX_PAYLOAD_BYTES in base64; write 2795KiB or more, or reduce SIDECAST_MAX_PAYLOAD_BYTES`},
		{"OUTBOX_BYTES=2861739", `OUTBOX_BYTES: 2861739 is too small for two messages of SIDECAST_MAX_PAYLOAD_BYTES in base64; write 2795KiB or more, or reduce SIDECAST_MAX_PAYLOAD_BYTES`},
		{"MAX_PAYLOAD_BYTES=4MiB", `OUTBOX_BYTES: 3MiB is too small for two messages of SIDECAST_MAX_PAYLOAD_BYTES in base64; write 10987KiB or more, or reduce SIDECAST_MAX_PAYLOAD_BYTES`},
		{"OUTBOX_TOTAL_BYTES=1MiB", `OUTBOX_TOTAL_BYTES: 1MiB is less than SIDECAST_OUTBOX_BYTES; write 3MiB or more, or reduce SIDECAST_OUTBOX_BYTES`},
		{"OUTBOX_TOTAL_BYTES=99999999TiB", `OUTBOX_TOTAL_BYTES: "99999999TiB" is too large; write a smaller size`},
		{"BLACKBOX_BYTES=1023KiB", `BLACKBOX_BYTES: 1023KiB is too small; write 1MiB or more, or 0 to keep no records`},
		{"BLACKBOX_BYTES=2GiB", `BLACKBOX_BYTES: 2GiB is above the maximum; write 1GiB or less`},
		{"WRITE_TIMEOUT=5", `WRITE_TIMEOUT: "5" has no unit; write 5s`},
		{"WRITE_TIMEOUT=soon", `WRITE_TIMEOUT: "soon" is not a duration; write a number and ms, s, m or h, like 10s`},
		{"WRITE_TIMEOUT=0", `WRITE_TIMEOUT: 0s is below the minimum; write 100ms or more`},
		{"PING_INTERVAL=25", `PING_INTERVAL: "25" has no unit; write 25s`},
		{"PING_INTERVAL=5s", `PONG_TIMEOUT: 10s is not less than SIDECAST_PING_INTERVAL, which is 5s; write less, or increase SIDECAST_PING_INTERVAL`},
		{"PONG_TIMEOUT=25s", `PONG_TIMEOUT: 25s is not less than SIDECAST_PING_INTERVAL, which is 25s; write less, or increase SIDECAST_PING_INTERVAL`},
		{"COMMAND_RATE=20/s", `COMMAND_RATE: "20/s" has a unit; write 20, which means 20 per second`},
		{"COMMAND_RATE=/s", `COMMAND_RATE: "/s" is not a whole number; write only digits, like 1000`},
		{"COMMAND_RATE=0", `COMMAND_RATE: 0 is below the minimum; write 1 or more`},

		// Events
		{"EVENTS=joined,gone", `EVENTS: "gone" is not a kind of events; write joined, left, unheard, connected, disconnected, published, evicted or refused, or only none`},
		{"EVENTS=none,joined", `EVENTS: "none" is not a kind of events; write joined, left, unheard, connected, disconnected, published, evicted or refused, or only none`},
		{"EVENTS=control", `EVENTS: "control" is not a kind of events; write joined, left, unheard, connected, disconnected, published, evicted or refused, or only none`},
		{"EVENTS=,", `EVENTS: is a list without items; separate items with commas, or unset it`},
		{"EVENTS_URL=app.internal", `EVENTS_URL: is not an http or https URL; write a URL like http://app.internal/events`},
		{"EVENTS_SECRET=" + longSecret[:31], "EVENTS_SECRET: is shorter than 32 bytes, so that it can be guessed; make one with `openssl rand -base64 32`"},
		{"EVENTS_FORMAT=pusher", `EVENTS_FORMAT: is set, but there are no webhooks; set SIDECAST_EVENTS_URL, or unset SIDECAST_EVENTS_FORMAT`},
		{"UNHEARD=user:[", `UNHEARD: "user:[": pattern has a [ without its ]; write \[ for a bracket; write Redis globs, as for PSUBSCRIBE`},
		{"EVENTS_FORMAT=xml", `EVENTS_FORMAT: "xml" is not an allowed value; write json or pusher`},

		// Stopping
		{"DRAIN_DELAY=-1s", `DRAIN_DELAY: -1s is below the minimum; write 0s or more`},
		{"DRAIN_TIMEOUT=61m", `DRAIN_TIMEOUT: 1h1m is above the maximum; write 1h or less`},

		// Operations
		{"READY_NEEDS_REDIS=yes", `READY_NEEDS_REDIS: "yes" is neither true nor false; write true or false`},
		{"DEMO=on", `DEMO: "on" is neither true nor false; write true or false`},
		{"ADMIN_TOKEN=x", "ADMIN_TOKEN: is shorter than 16 bytes, so that it can be guessed; make one with `openssl rand -base64 32`"},
		{"PUBLISH_TOKEN=x", "PUBLISH_TOKEN: is shorter than 16 bytes, so that it can be guessed; make one with `openssl rand -base64 32`"},
		{"PUBLISH_TOKEN=two words that are long enough", `PUBLISH_TOKEN: contains white space or characters that are not ASCII, which an HTTP header cannot contain; write only printable ASCII characters`},
		{"ADMIN_TOKEN=two words that are long enough", `ADMIN_TOKEN: contains white space or characters that are not ASCII, which an HTTP header cannot contain; write only printable ASCII characters`},
		{"LOG_LEVEL=warning", `LOG_LEVEL: "warning" is not an allowed value; write debug, info, warn or error`},
		{"LOG_LEVEL=info+2", `LOG_LEVEL: "info+2" is not an allowed value; write debug, info, warn or error`},
		{"LOG_FORMAT=xml", `LOG_FORMAT: "xml" is not an allowed value; write auto, text or json`},

		// A long value is cut.
		{"LOG_FORMAT=" + strings.Repeat("x", 100), `LOG_FORMAT: "` + strings.Repeat("x", 60) + `..." is not an allowed value; write auto, text or json`},
	} {
		t.Run(tt.set, func(t *testing.T) {
			variables := env(realRedis...)
			name, value, _ := strings.Cut(tt.set, "=")
			variables[Prefix+name] = value
			if got := faultsOf(t, variables).Error(); got != Prefix+tt.want {
				t.Errorf("faults:\n%s\nwant:\n%s", got, Prefix+tt.want)
			}
		})
	}
}

// TestModes shows the settings that each mode requires and forbids.
func TestModes(t *testing.T) {
	for _, tt := range []struct {
		comment string
		set     []string
		want    []string // the variables with faults
	}{
		{"messages without a listener in a cluster, with keys in several slots", []string{"REDIS_URL=redis://redis", "REDIS_MODE=cluster", "CHANNELS=*", "PUBLIC_CHANNELS=*", "UNHEARD=*"}, []string{"KEY_PREFIX"}},
		{"messages without a listener in a cluster", []string{"REDIS_URL=redis://redis", "REDIS_MODE=cluster", "CHANNELS=*", "PUBLIC_CHANNELS=*", "UNHEARD=*", "KEY_PREFIX={s}:"}, nil},
		{"messages without a listener on channels that are not relayed", []string{"REDIS_URL=redis://redis", "CHANNELS=chat:*", "PUBLIC_CHANNELS=*", "UNHEARD=user:*"}, []string{"UNHEARD"}},
		{"messages without a listener on durable channels", []string{"REDIS_URL=redis://redis", "DURABLE_CHANNELS=user:*", "PUBLIC_CHANNELS=*", "UNHEARD=user:7*"}, nil},
		{"members of channels that are not relayed", []string{"REDIS_URL=redis://redis", "CHANNELS=chat:*", "PUBLIC_CHANNELS=*", "PRESENCE_CHANNELS=room:*"}, []string{"PRESENCE_CHANNELS"}},
		{"messages without a listener, but not their events", []string{"UNHEARD=user:*", "EVENTS=joined"}, []string{"UNHEARD"}},
		{"the key of a Pusher application without its secret", append([]string{"PUSHER_KEY=key"}, realRedis...), []string{"PUSHER_SECRET"}},
		{"a Pusher application without a key", append([]string{"PUSHER_APP_ID=1", "PUSHER_SECRET=" + longSecret, "BROADCAST_AUTH_URL=http://app/auth"}, realRedis...),
			[]string{"PUSHER_APP_ID", "PUSHER_SECRET", "BROADCAST_AUTH_URL"}},
		{"a key that cannot be a part of a URL", append([]string{"PUSHER_KEY=a/b", "PUSHER_SECRET=" + longSecret}, realRedis...), []string{"PUSHER_KEY"}},
		{"an application that answers requests of clients, without a path", append([]string{"BROADCAST_AUTH_URL=http://app"}, append(withPusher, realRedis...)...), []string{"BROADCAST_AUTH_URL"}},
		{"the same, at the root", append([]string{"BROADCAST_AUTH_URL=http://app/?x=1"}, append(withPusher, realRedis...)...), []string{"BROADCAST_AUTH_URL"}},
		{"the same, at a path of the relay", append([]string{"BROADCAST_AUTH_URL=http://app/ws"}, append(withPusher, realRedis...)...), []string{"BROADCAST_AUTH_URL"}},
		{"the same, below a path of the relay", append([]string{"BROADCAST_AUTH_URL=http://app/apps/1/auth"}, append(withPusher, realRedis...)...), []string{"BROADCAST_AUTH_URL"}},
		{"the same, at a path of the relay below its prefix", append([]string{"BASE_PATH=/live", "BROADCAST_AUTH_URL=http://app/live/sse/"}, append(withPusher, realRedis...)...), []string{"BROADCAST_AUTH_URL"}},
		{"the same, at the prefix itself", append([]string{"BASE_PATH=/live", "BROADCAST_AUTH_URL=http://app/live"}, append(withPusher, realRedis...)...), []string{"BROADCAST_AUTH_URL"}},
		{"the same, at a file of the relay", append([]string{"BROADCAST_AUTH_URL=http://app/sidecast.mjs"}, append(withPusher, realRedis...)...), []string{"BROADCAST_AUTH_URL"}},
		{"the same, with a pattern as the path", append([]string{"BROADCAST_AUTH_URL=http://app/{auth}"}, append(withPusher, realRedis...)...), []string{"BROADCAST_AUTH_URL"}},
		{"the same, with a slash in a part of the path", append([]string{"BROADCAST_AUTH_URL=http://app/a%2Fb"}, append(withPusher, realRedis...)...), []string{"BROADCAST_AUTH_URL"}},
		{"the same, below the relay's prefix", append([]string{"BASE_PATH=/live", "BROADCAST_AUTH_URL=http://app/live/auth"}, append(withPusher, realRedis...)...), nil},
		{"limits of an application that answers requests of clients", append([]string{"AUTH_TIMEOUT=1s", "BROADCAST_AUTH_URL=http://app/broadcasting/auth"}, append(withPusher, realRedis...)...), nil},
		{"raw payloads for clients of the Pusher protocol", append([]string{"PAYLOAD=raw"}, append(withPusher, realRedis...)...), []string{"PAYLOAD"}},
		{"two forms of what clients publish", append([]string{"PAYLOAD=laravel", "PUBLISH_FORMAT=json"}, realRedis...), []string{"PUBLISH_FORMAT"}},
		{"members of channels that are not relayed", append([]string{"PRESENCE_CHANNELS=room:*"}, realRedis...), []string{"PRESENCE_CHANNELS"}},
		{"members of channels of which some are relayed", append([]string{"PRESENCE_CHANNELS=room:*,*:1", "AUTH_URL=http://app"}, realRedis...), nil},
		{"members of streams", append([]string{"PRESENCE_CHANNELS=room:1", "DURABLE_CHANNELS=room:*", "AUTH_URL=http://app"}, realRedis...), nil},
		{"listeners of channels that are not relayed", append([]string{"UNHEARD=user:*"}, realRedis...), []string{"UNHEARD"}},
		{"nothing is relayed: one fault is enough", []string{"REDIS_URL=redis://redis", "PUBLIC_CHANNELS=*", "UNHEARD=user:*"}, []string{"CHANNELS"}},
		{"a cluster needs no hash tag without scripts", append([]string{"REDIS_MODE=cluster", "AUTH_URL=http://app", "EVENTS=connected"}, realRedis...), nil},
		{"nothing is set: embedded mode", nil, nil},
		{"embedded mode is set explicitly", []string{"EMBEDDED=true"}, nil},
		{"embedded mode with an explicit address", []string{"LISTEN=:8080"}, nil},
		{"embedded mode and a URL", []string{"EMBEDDED=true", "REDIS_URL=redis://redis"}, []string{"EMBEDDED"}},
		{"neither embedded mode nor a URL", []string{"EMBEDDED=false", "CHANNELS=*", "PUBLIC_CHANNELS=*"}, []string{"REDIS_URL"}},
		{"a real Redis has no default channels", []string{"REDIS_URL=redis://redis"}, []string{"CHANNELS", "PUBLIC_CHANNELS"}},
		{"only streams", []string{"REDIS_URL=redis://redis", "DURABLE_CHANNELS=*", "PUBLIC_CHANNELS=*"}, nil},
		{"no public channels and no login", []string{"REDIS_URL=redis://redis", "CHANNELS=*"}, []string{"PUBLIC_CHANNELS"}},
		{"tokens instead of public channels", []string{"REDIS_URL=redis://redis", "CHANNELS=*", "JWT_SECRET=" + longSecret}, nil},
		{"signed channels instead of public channels", []string{"REDIS_URL=redis://redis", "CHANNELS=*", "CHANNEL_SECRET=" + longSecret}, nil},
		{"a default channel that no signature can open", []string{"REDIS_URL=redis://redis", "CHANNELS=*", "PUBLIC_CHANNELS=news", "DEFAULT_CHANNELS=chat", "CHANNEL_SECRET=" + longSecret}, []string{"DEFAULT_CHANNELS"}},
		{"the previous secret of signatures can be guessed", []string{"CHANNEL_SECRET=" + longSecret, "CHANNEL_PREVIOUS_SECRET=b"}, []string{"CHANNEL_PREVIOUS_SECRET"}},
		{"two kinds of keys", []string{"JWT_SECRET=" + longSecret, "JWT_JWKS_URL=https://id.example.com"}, []string{"JWT_JWKS_URL"}},
		{"every page could use a cookie with a token", []string{"JWT_SECRET=" + longSecret, "JWT_COOKIE=t", "ALLOWED_ORIGINS=*"}, []string{"ALLOWED_ORIGINS"}},
		{"every page could use the login of the application", []string{"AUTH_URL=http://app", "ALLOWED_ORIGINS=*"}, []string{"ALLOWED_ORIGINS"}},
		{"the login of the application instead of public channels", []string{"REDIS_URL=redis://redis", "CHANNELS=*", "AUTH_URL=http://app"}, nil},
		{"a frame of any site could use a cookie with a token", []string{"JWT_SECRET=" + longSecret, "JWT_COOKIE=t", "ALLOWED_ORIGINS=null"}, []string{"ALLOWED_ORIGINS"}},
		{"a frame of any site could use the login of the application", []string{"AUTH_URL=http://app", "ALLOWED_ORIGINS=https://a.example,null"}, []string{"ALLOWED_ORIGINS"}},
		{"a file could use the login of the application", []string{"CHANNEL_AUTH_URL=http://app", "ALLOWED_ORIGINS=file://"}, []string{"ALLOWED_ORIGINS"}},
		{"every page could use the private channels of its visitor", append([]string{"BROADCAST_AUTH_URL=http://app/auth", "ALLOWED_ORIGINS=*"}, append(withPusher, realRedis...)...), []string{"ALLOWED_ORIGINS"}},
		{"pages without an origin, with their own tokens", []string{"JWT_SECRET=" + longSecret, "ALLOWED_ORIGINS=null,file://"}, nil},
		{"every page with its own token", []string{"JWT_SECRET=" + longSecret, "ALLOWED_ORIGINS=*"}, nil},
		{"the previous secret can be guessed", []string{"JWT_SECRET=" + longSecret, "JWT_PREVIOUS_SECRET=b"}, []string{"JWT_PREVIOUS_SECRET"}},
		{"white space does not make a secret longer", []string{"JWT_SECRET=x" + strings.Repeat(" ", 40)}, []string{"JWT_SECRET"}},
		{"the default key prefix stays reserved", []string{"KEY_PREFIX=k:", "CHANNEL_PREFIX=sidecast:"}, []string{"CHANNEL_PREFIX"}},
		{"the default key prefix stays reserved, in a name", []string{"KEY_PREFIX=k:", "USER_CHANNELS=sidecast:{user}"}, []string{"USER_CHANNELS"}},
		{"an invalid URL counts as a real Redis", []string{"REDIS_URL=redis"},
			[]string{"REDIS_URL", "CHANNELS", "PUBLIC_CHANNELS"}},
		{"an invalid list does not also count as unset", []string{"REDIS_URL=redis://redis", "CHANNELS=,", "PUBLIC_CHANNELS=,"},
			[]string{"CHANNELS", "PUBLIC_CHANNELS"}},
		{"an invalid pattern does not make a default channel forbidden",
			[]string{"REDIS_URL=redis://redis", "CHANNELS=*", "DURABLE_CHANNELS=[", "PUBLIC_CHANNELS=*", "DEFAULT_CHANNELS=a"}, []string{"DURABLE_CHANNELS"}},
		{"a mode without a URL has no effect", []string{"REDIS_MODE=cluster"}, []string{"REDIS_MODE"}},
		{"a Sentinel's user needs a password", append([]string{"REDIS_MODE=sentinel", "REDIS_SENTINEL_USERNAME=x"}, sentinelRedis...),
			[]string{"REDIS_SENTINEL_USERNAME"}},
		{"credentials without a URL have no effect", []string{"REDIS_PASSWORD=x", "REDIS_USERNAME=y"},
			[]string{"REDIS_USERNAME", "REDIS_PASSWORD"}},
	} {
		var got []string
		for _, f := range faultsOf(t, env(tt.set...)) {
			got = append(got, strings.TrimPrefix(f.Name, Prefix))
		}
		if strings.Join(got, " ") != strings.Join(tt.want, " ") {
			t.Errorf("%s: faults in %v, want %v", tt.comment, got, tt.want)
		}
	}
}

// TestClusterKeys checks that all keys of a script are in one slot of a cluster,
// and what is said otherwise.
func TestClusterKeys(t *testing.T) {
	const braces = ", and write SIDECAST_CHANNEL_PREFIX without braces"
	tag := func(tag string) string { return "set SIDECAST_KEY_PREFIX=" + tag + ": for all relays" }
	for _, tt := range []struct{ comment, keys, channels, remedy string }{
		{"the default", "sidecast:", "", tag("{sidecast}")},
		{"a hash tag", "{sidecast}:", "", ""},
		{"a hash tag inside", "shop:{a}:", "app:", ""},
		{"an empty hash tag", "{}:", "", tag("{sidecast}")},
		{"an open brace", "{sidecast:", "", tag("{sidecast}")},
		{"a hash tag of the channels only", "sidecast:", "{app}:", tag("sidecast:{app}")},
		{"another hash tag of the channels", "{sidecast}:", "{app}:", tag("sidecast:{app}")},
		{"the same hash tag of the channels", "sidecast:{app}:", "{app}:", ""},
		{"an open brace of the channels", "{sidecast}:", "app{:", tag("{sidecast}") + braces},
		{"empty braces of the channels", "{sidecast}:", "{}app:", tag("{sidecast}") + braces},
	} {
		for setting, value := range map[string]string{"PRESENCE_CHANNELS": "chat:*", "UNHEARD": "chat:1"} {
			set := env("REDIS_URL=redis://redis", "REDIS_MODE=cluster", "CHANNELS=chat:*", "AUTH_URL=http://app",
				"KEY_PREFIX="+tt.keys, "CHANNEL_PREFIX="+tt.channels, setting+"="+value)
			if tt.channels == "" {
				delete(set, Prefix+"CHANNEL_PREFIX")
			}
			got := faultsOf(t, set)
			if tt.remedy == "" && len(got) == 0 {
				continue
			}
			want := Fault{
				Name: Prefix + "KEY_PREFIX", Remedy: tt.remedy,
				Problem: "does not keep the keys of " + Prefix + setting + " in one slot of the cluster",
			}
			if len(got) != 1 || got[0] != want {
				t.Errorf("%s: faults %q, want %q", tt.comment, got, want)
			}
		}
	}
}

// TestCredentials has only complete credentials.
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

// TestSetButEmpty checks that a variable that is set but empty counts as unset,
// with a warning. Only those are faults without which the relay would accept
// more: secrets, their files, REDIS_URL, and a few others.
func TestSetButEmpty(t *testing.T) {
	others := []string{"EMBEDDED", "TLS_CERT", "TLS_KEY", "JWT_ALGORITHMS", "JWT_ISSUER", "JWT_AUDIENCE"}
	for _, s := range settings() {
		names := []string{s.variable()}
		if s.secret {
			names = append(names, s.variable()+fileSuffix)
		}
		base := env(realRedis...)
		delete(base, s.variable())
		setenv(t, base)
		unset, _, unsetErr := Load()
		for _, name := range names {
			for _, empty := range []string{"", "  ", "\r\n"} {
				t.Setenv(name, empty)
				c, warnings, err := Load()
				os.Unsetenv(name)
				if s.secret || slices.Contains(others, s.name) {
					faults, _ := errors.AsType[Faults](err)
					if len(faults) != 1 || faults[0].Name != s.variable() || !strings.Contains(faults[0].Error(), "empty") {
						t.Errorf("%s=%q: %v", name, empty, faults)
					}
					continue
				}
				if want := name + ": is set but empty, which counts as unset"; len(warnings) != 1 || warnings[0].String() != want {
					t.Errorf("%s=%q: warnings %q, want %q", name, empty, warnings, want)
				}
				if !reflect.DeepEqual(c.Effective(), unset.Effective()) || fmt.Sprint(err) != fmt.Sprint(unsetErr) {
					t.Errorf("%s=%q differs from unset: %v, %v", name, empty, err, unsetErr)
				}
			}
		}
	}
}

// TestEnvFileSyntax checks that quotes, comments and byte order marks, which
// docker run --env-file keeps, are rejected by the name of the setting.
func TestEnvFileSyntax(t *testing.T) {
	const quotes, note, mark = "has quotes", "has a comment", "begins with a byte order mark"
	bom := "\ufeff"
	for _, tt := range []struct{ set, problem string }{
		{`CHANNELS="chat:*"`, quotes},
		{`CHANNELS='chat:*'`, quotes},
		{`CHANNELS="chat:*" # all`, quotes},
		{`CHANNELS='"chat:*"'`, quotes},
		{`CHANNELS=news,"chat:*"`, quotes},
		{`CHANNELS="chat:*,news"`, quotes},
		{`CHANNELS=chat:* # all`, note},
		{`CHANNELS=chat:* #all`, note},
		{`CHANNELS=chat:*	# all, really`, note},
		{`CHANNELS=# all`, note},
		{`CHANNELS=` + bom + `chat:*`, mark},
		{`DEFAULT_CHANNELS=chat # all`, note},
		{`DEFAULT_CHANNELS=# all`, note},
		{`USER_CHANNELS=user:{user} # their own`, note},
		{`CHANNEL_PREFIX=app: # Laravel`, note},
		{`LISTEN=":9000"`, quotes},
		{`LISTEN=:9000 # for clients`, note},
		{`KEY_PREFIX='app:'`, quotes},
		{`LOG_LEVEL="debug"`, quotes},
		{`MAX_CONNECTIONS="10"`, quotes},
		{`AUTH_URL="http://app/live"`, quotes},
		{`AUTH_URL=http://app/live # login`, note},
		{`JWT_PUBLIC_KEY="-----BEGIN PUBLIC KEY-----"`, quotes},
		{`REDIS_URL="redis://:` + canary + `@redis"`, quotes},
		{`REDIS_URL=redis://:` + canary + `@redis # main`, note},
		{`REDIS_URL=` + bom + `redis://:` + canary + `@redis`, mark},
		{`REDIS_URL_FILE=` + writeFile(t, "url", bom+"redis://:"+canary+"@redis\r\n"), "the file that SIDECAST_REDIS_URL_FILE names " + mark},
		{`REDIS_URL_FILE=` + writeFile(t, "url", `"redis://:`+canary+`@redis"`), "the file that SIDECAST_REDIS_URL_FILE names " + quotes},
		{`REDIS_PASSWORD_FILE="/run/secrets/` + canary + `"`, "is read from a file, but SIDECAST_REDIS_PASSWORD_FILE " + quotes},
	} {
		name, _, _ := strings.Cut(tt.set, "=")
		variables := env(append(slices.Clone(realRedis), tt.set)...)
		if bare, ok := strings.CutSuffix(name, fileSuffix); ok {
			name = bare
			delete(variables, Prefix+bare)
		}
		faults := faultsOf(t, variables)
		text := faults.Error()
		if len(faults) == 0 || !strings.HasPrefix(text, Prefix+name+": "+tt.problem) || len(faults) > 1 || leaks(text) {
			t.Errorf("%s: %v", tt.set, faults)
		}
	}
	for _, set := range []string{
		"CHANNELS=#general, #random", `CHANNELS=it's:*,a"b`, "CHANNELS= chat:* \r", `CHANNELS=\"odd\"`, "CHANNEL_PREFIX=app_\r",
	} {
		if faults := faultsOf(t, env(append(slices.Clone(realRedis), set)...)); len(faults) > 0 {
			t.Errorf("%q: %v", set, faults)
		}
	}
}

// TestHashInNames checks that a channel whose name contains a # after a blank
// can be written in every list: escaped in a pattern, as it is in a name.
func TestHashInNames(t *testing.T) {
	variables := env("REDIS_URL=redis://redis", "CHANNELS=room #5", "PUBLIC_CHANNELS=*")
	want := `SIDECAST_CHANNELS: has a comment, which is part of the value; write the comment on a line of its own: ` +
		`docker run --env-file, for example, keeps it; if the # belongs to the pattern, write \#`
	if got := faultsOf(t, variables).Error(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	c := mustLoad(t, env("REDIS_URL=redis://redis", `CHANNELS=room \#5,user \#*`, `DURABLE_CHANNELS=log \#*`, `PUBLIC_CHANNELS=room \#*`,
		`PUBLISH_CHANNELS=room \#5`, "DEFAULT_CHANNELS=room #5", "USER_CHANNELS=user #{user},all #"))
	if !c.Channels[0].Match("room #5") || !c.DurableChannels[0].Match("log #1") || c.DefaultChannels[0] != "room #5" ||
		!slices.Equal(c.UserChannels, List{"user #{user}", "all #"}) {
		t.Errorf("read %v, %v, %v, %v", c.Channels, c.DurableChannels, c.DefaultChannels, c.UserChannels)
	}
	c = mustLoad(t, env(append(slices.Clone(realRedis), "CHANNEL_PREFIX=app #1:")...))
	if c.ChannelPrefix != "app #1:" {
		t.Errorf("prefix %q", c.ChannelPrefix)
	}
}

// TestBOMInFiles checks that a PEM file with a byte order mark is rejected
// because of it.
func TestBOMInFiles(t *testing.T) {
	for name, text := range map[string]string{"JWT_PUBLIC_KEY": publicPEM, "TLS_KEY": privatePEM, "TLS_CERT": "-----BEGIN CERTIFICATE-----"} {
		file := writeFile(t, "file.pem", "\ufeff"+text)
		faults := faultsOf(t, env(append(slices.Clone(realRedis), name+"="+file)...))
		if len(faults) != 1 || !strings.Contains(faults.Error(), "byte order mark") || faults[0].Remedy != hintBOM {
			t.Errorf("%s: %v", name, faults)
		}
	}
}

// TestBOMInNames checks that a variable whose name begins with a byte order mark
// is not ignored: it is the first line of a file, often REDIS_URL.
func TestBOMInNames(t *testing.T) {
	variables := env(realRedis...)
	variables["\ufeff"+Prefix+"REDIS_URL"] = variables[Prefix+"REDIS_URL"]
	delete(variables, Prefix+"REDIS_URL")
	t.Setenv("\ufeff"+Prefix+"REDIS_URL", "")
	want := "SIDECAST_REDIS_URL: has a byte order mark (BOM) before its name, so it is not read; " + hintBOM
	if got := faultsOf(t, variables).Error(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestFaultsAdd checks that a fault that the caller adds is sorted in, and that
// errors.AsType finds every fault.
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
			t.Errorf("fault %d concerns %s, want %s", i, f.Name, want[i])
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

// TestConfigWithFaults checks that a setting with a fault is zero in the
// Config, and that the other settings have their values.
func TestConfigWithFaults(t *testing.T) {
	setenv(t, env("WRITE_TIMEOUT=5", "CHANNELS=a,b"))
	c, _, err := Load()
	if err == nil || c == nil || c.WriteTimeout != 0 || c.Channels.String() != "a,b" {
		t.Errorf("Config %+v, error %v", c, err)
	}
}

// TestLeastOutbox checks that the smallest OUTBOX_BYTES that an error suggests
// is accepted, and that the bound is exact.
func TestLeastOutbox(t *testing.T) {
	for _, lines := range [][]string{
		{"OUTBOX_BYTES=2795KiB"},
		{"OUTBOX_BYTES=2861744"},
		{"MAX_PAYLOAD_BYTES=4MiB", "OUTBOX_BYTES=10987KiB"},
		{"MAX_PAYLOAD_BYTES=256MiB", "OUTBOX_BYTES=1GiB", "OUTBOX_TOTAL_BYTES=1GiB"},
		{"MAX_PAYLOAD_BYTES=128", "OUTBOX_BYTES=65880"},
	} {
		if faults := mustLoad(t, env(append(lines, realRedis...)...)).Validate(); len(faults) > 0 {
			t.Errorf("%v: %v", lines, faults)
		}
	}
	for _, lines := range [][]string{{"OUTBOX_BYTES=2861743"}, {"MAX_PAYLOAD_BYTES=128", "OUTBOX_BYTES=65879"}} {
		if faults := faultsOf(t, env(append(lines, realRedis...)...)); len(faults) != 1 {
			t.Errorf("%v: %v, want one fault", lines, faults)
		}
	}
}

// TestBlackboxOff checks that a file for records needs records.
func TestBlackboxOff(t *testing.T) {
	set := append([]string{"BLACKBOX_BYTES=0"}, realRedis...)
	if faults := mustLoad(t, env(set...)).Validate(); len(faults) > 0 {
		t.Errorf("no records: %v", faults)
	}
	got := faultsOf(t, env(append(set, "BLACKBOX_FILE=/box")...)).Error()
	if want := "SIDECAST_BLACKBOX_FILE: is set, but SIDECAST_BLACKBOX_BYTES is 0; unset one of them"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestNoConsequentialFaults checks that a setting with a fault is not compared
// with others, so that one mistake causes one fault.
func TestNoConsequentialFaults(t *testing.T) {
	faults := faultsOf(t, env("MAX_PAYLOAD_BYTES=8MiB", "OUTBOX_BYTES=lots", "PING_INTERVAL=1", `KEY_PREFIX="x"`, "CHANNEL_PREFIX=x"))
	if len(faults) != 3 {
		t.Errorf("want three faults:\n%v", faults)
	}
}

// TestValidateIsPure checks that Validate changes nothing.
func TestValidateIsPure(t *testing.T) {
	c := mustLoad(t, env(realRedis...))
	if faults := c.Validate(); len(faults) > 0 {
		t.Errorf("a valid Config has %v", faults)
	}
	c.OutboxTotalBytes = 1
	before := c.Effective()
	first, second := c.Validate(), c.Validate()
	if len(first) != 1 || first.Error() != second.Error() || len(c.Effective()) != len(before) {
		t.Errorf("twice: %v, then %v", first, second)
	}
}
