package config

import (
	"encoding/pem"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kelseyhightower/envconfig"
)

// A settingRow has a value for one setting that is not its default.
type settingRow struct {
	name, value string
	get         func(*Config) any
	want        any
	with        []string // other settings that are required
}

var withLogin = []string{"AUTH_URL=http://app"}

// longSecret is long enough for every setting.
const longSecret = "correct horse battery staple, 32+"

var withSecret = []string{"JWT_SECRET=" + longSecret}

var withEventsURL, withEventsSecret = []string{"EVENTS_URL=http://app"}, []string{"EVENTS_SECRET=" + longSecret}

var withPusher = []string{"PUSHER_KEY=key", "PUSHER_SECRET=" + longSecret}

func settingRows(t *testing.T) []settingRow {
	ca, key, private := certificateFile(t), writeFile(t, "key.pem", publicPEM), writeFile(t, "private.pem", privatePEM)
	return []settingRow{
		{"EMBEDDED", "false", func(c *Config) any { return c.Embedded }, False, nil},
		{"LISTEN", "127.0.0.1:7000", func(c *Config) any { return c.Listen }, Address("127.0.0.1:7000"), nil},
		{"ADMIN_LISTEN", ":9999", func(c *Config) any { return c.AdminListen }, Address(":9999"), nil},
		{"TLS_CERT", ca, func(c *Config) any { return c.TLSCert }, CertFile(ca), []string{"TLS_KEY=" + private}},
		{"TLS_KEY", private, func(c *Config) any { return c.TLSKey }, KeyFile(private), []string{"TLS_CERT=" + ca}},
		{"BASE_PATH", "/live/v1", func(c *Config) any { return c.BasePath }, Path("/live/v1"), nil},
		{"REDIS_URL", "rediss://other:7000/2", func(c *Config) any { return c.RedisURL.Reveal() }, "rediss://other:7000/2", nil},
		{"REDIS_MODE", "cluster", func(c *Config) any { return c.RedisMode }, ModeCluster, nil},
		{"REDIS_USERNAME", "relay", func(c *Config) any { return c.RedisUsername }, "relay", []string{"REDIS_PASSWORD=x"}},
		{"REDIS_PASSWORD", "hunter2", func(c *Config) any { return c.RedisPassword.Reveal() }, "hunter2", nil},
		{"REDIS_SENTINEL_USERNAME", "watch", func(c *Config) any { return c.RedisSentinelUsername }, "watch",
			append([]string{"REDIS_MODE=sentinel", "REDIS_SENTINEL_PASSWORD=x"}, sentinelRedis...)},
		{"REDIS_SENTINEL_PASSWORD", "pw", func(c *Config) any { return c.RedisSentinelPassword.Reveal() }, "pw",
			append([]string{"REDIS_MODE=sentinel"}, sentinelRedis...)},
		{"REDIS_CA", ca, func(c *Config) any { return c.RedisCA }, CertFile(ca), []string{"REDIS_URL=rediss://redis"}},
		{"REDIS_CERT", ca, func(c *Config) any { return c.RedisCert }, CertFile(ca), []string{"REDIS_URL=rediss://redis", "REDIS_KEY=" + private}},
		{"REDIS_KEY", private, func(c *Config) any { return c.RedisKey }, KeyFile(private), []string{"REDIS_URL=rediss://redis", "REDIS_CERT=" + ca}},
		{"REDIS_PROTOCOL", "3", func(c *Config) any { return c.RedisProtocol }, Count(3), nil},
		{"MARKERS", "false", func(c *Config) any { return c.Markers }, False, nil},
		{"CHANNELS", "a:*,b", func(c *Config) any { return c.Channels.String() }, "a:*,b", nil},
		{"DURABLE_CHANNELS", "order:*", func(c *Config) any { return c.DurableChannels.String() }, "order:*", nil},
		{"DURABLE_LENGTH", "0", func(c *Config) any { return c.DurableLength }, Count(0), nil},
		{"PRESENCE_CHANNELS", "a:[bc],d?", func(c *Config) any { return c.PresenceChannels.String() }, "a:[bc],d?", []string{"CHANNELS=*"}},
		{"PUBLIC_CHANNELS", "a:[bc],d?", func(c *Config) any { return c.PublicChannels.String() }, "a:[bc],d?", nil},
		{"PUBLISH_CHANNELS", "lobby", func(c *Config) any { return c.PublishChannels.String() }, "lobby", nil},
		{"DEFAULT_CHANNELS", "chat:1,chat:2", func(c *Config) any { return c.DefaultChannels }, List{"chat:1", "chat:2"}, nil},
		{"CHANNEL_PREFIX", "laravel_database_", func(c *Config) any { return c.ChannelPrefix }, "laravel_database_", nil},
		{"KEY_PREFIX", "{sidecast}:", func(c *Config) any { return c.KeyPrefix }, "{sidecast}:", nil},
		{"LAST", "price:*=1,chat:*=50", func(c *Config) any { return c.Last.String() }, "price:*=1,chat:*=50", nil},
		{"USER_CHANNELS", "inbox:{user},all", func(c *Config) any { return c.UserChannels }, List{"inbox:{user}", "all"}, nil},
		{"PUBLISH_FORMAT", "json", func(c *Config) any { return c.PublishFormat }, FormatJSON, nil},
		{"JWT_SECRET", longSecret, func(c *Config) any { return c.JWTSecret.Reveal() }, longSecret, nil},
		{"JWT_PREVIOUS_SECRET", longSecret + "!", func(c *Config) any { return c.JWTPreviousSecret.Reveal() }, longSecret + "!", withSecret},
		{"JWT_PUBLIC_KEY", key, func(c *Config) any { return c.JWTPublicKey.String() }, key, nil},
		{"JWT_JWKS_URL", "https://id.example.com/jwks", func(c *Config) any { return c.JWTJwksURL }, KeysURL{"https://id.example.com/jwks"}, nil},
		{"JWT_ALGORITHMS", "HS512", func(c *Config) any { return c.JWTAlgorithms }, List{"HS512"}, withSecret},
		{"JWT_ISSUER", "https://id.example.com", func(c *Config) any { return c.JWTIssuer }, "https://id.example.com", withSecret},
		{"JWT_AUDIENCE", "sidecast", func(c *Config) any { return c.JWTAudience }, "sidecast", withSecret},
		{"JWT_COOKIE", "token", func(c *Config) any { return c.JWTCookie }, CookieName("token"), withSecret},
		{"AUTH_URL", "http://app.internal/live", func(c *Config) any { return c.AuthURL }, WebURL("http://app.internal/live"), nil},
		{"CHANNEL_AUTH_URL", "http://app.internal/may", func(c *Config) any { return c.ChannelAuthURL }, WebURL("http://app.internal/may"), nil},
		{"AUTH_TIMEOUT", "500ms", func(c *Config) any { return c.AuthTimeout }, Duration(500 * time.Millisecond), withLogin},
		{"AUTH_CACHE", "0s", func(c *Config) any { return c.AuthCache }, Duration(0), withLogin},
		{"AUTH_CONCURRENCY", "7", func(c *Config) any { return c.AuthConcurrency }, Count(7), withLogin},
		{"REVOKED_AGE", "48h", func(c *Config) any { return c.RevokedAge }, Duration(48 * time.Hour), nil},
		{"EVENTS", "left,connected", func(c *Config) any { return c.Events.String() }, "left,connected", nil},
		{"UNHEARD", "user:*", func(c *Config) any { return c.Unheard.String() }, "user:*", []string{"CHANNELS=*"}},
		{"EVENTS_URL", "http://app.internal/events", func(c *Config) any { return c.EventsURL }, HookURL{"http://app.internal/events"}, withEventsSecret},
		{"EVENTS_SECRET", longSecret, func(c *Config) any { return c.EventsSecret.Reveal() }, longSecret, withEventsURL},
		{"EVENTS_FORMAT", "pusher", func(c *Config) any { return c.EventsFormat }, EventsPusher, append(withEventsSecret, withEventsURL...)},
		{"ALLOWED_ORIGINS", "https://a.example.com,https://*.example.org,null,file://", func(c *Config) any { return c.AllowedOrigins },
			OriginList{"https://a.example.com", "https://*.example.org", "null", "file://"}, nil},
		{"TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.7", func(c *Config) any { return c.TrustedProxies },
			NetworkList{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32")}, nil},
		{"MAX_CONNECTIONS", "1234", func(c *Config) any { return c.MaxConnections }, AutoCount(1234), nil},
		{"MAX_CONNECTIONS_PER_IP", "0", func(c *Config) any { return c.MaxConnectionsPerIP }, Count(0), nil},
		{"MAX_CONNECT_RATE_PER_IP", "7", func(c *Config) any { return c.MaxConnectRatePerIP }, Count(7), nil},
		{"MAX_CHANNELS_PER_SESSION", "7", func(c *Config) any { return c.MaxChannelsPerSession }, Count(7), nil},
		{"MAX_INBOUND_BYTES", "32KiB", func(c *Config) any { return c.MaxInboundBytes }, Size(32 << 10), nil},
		{"MAX_PAYLOAD_BYTES", "512KiB", func(c *Config) any { return c.MaxPayloadBytes }, Size(512 << 10), nil},
		{"OUTBOX_BYTES", "4MiB", func(c *Config) any { return c.OutboxBytes }, Size(4 << 20), nil},
		{"OUTBOX_TOTAL_BYTES", "1GiB", func(c *Config) any { return c.OutboxTotalBytes }, Size(1 << 30), nil},
		{"HISTORY_BYTES", "0", func(c *Config) any { return c.HistoryBytes }, Size(0), nil},
		{"PAGE_CACHE_BYTES", "2MiB", func(c *Config) any { return c.PageCacheBytes }, Size(2 << 20), nil},
		{"BLACKBOX_BYTES", "2MiB", func(c *Config) any { return c.BlackboxBytes }, Size(2 << 20), nil},
		{"BLACKBOX_FILE", "/var/lib/sidecast/box", func(c *Config) any { return c.BlackboxFile }, "/var/lib/sidecast/box", nil},
		{"HISTORY_AGE", "10m", func(c *Config) any { return c.HistoryAge }, Duration(10 * time.Minute), nil},
		{"WRITE_TIMEOUT", "1.5s", func(c *Config) any { return c.WriteTimeout }, Duration(1500 * time.Millisecond), nil},
		{"PING_INTERVAL", "1m30s", func(c *Config) any { return c.PingInterval }, Duration(90 * time.Second), nil},
		{"PONG_TIMEOUT", "3s", func(c *Config) any { return c.PongTimeout }, Duration(3 * time.Second), nil},
		{"COMMAND_RATE", "5", func(c *Config) any { return c.CommandRate }, Rate(5), nil},
		{"DRAIN_DELAY", "0s", func(c *Config) any { return c.DrainDelay }, Duration(0), nil},
		{"DRAIN_TIMEOUT", "1h", func(c *Config) any { return c.DrainTimeout }, Duration(time.Hour), nil},
		{"READY_NEEDS_REDIS", "true", func(c *Config) any { return c.ReadyNeedsRedis }, Switch(true), nil},
		{"DEMO", "true", func(c *Config) any { return c.Demo }, Switch(true), nil},
		{"ADMIN_TOKEN", "a-token-of-16-by", func(c *Config) any { return c.AdminToken.Reveal() }, "a-token-of-16-by", nil},
		{"CHANNEL_SECRET", longSecret, func(c *Config) any { return c.ChannelSecret.Reveal() }, longSecret, nil},
		{"CHANNEL_PREVIOUS_SECRET", longSecret, func(c *Config) any { return c.ChannelPreviousSecret.Reveal() }, longSecret, []string{"CHANNEL_SECRET=" + longSecret}},
		{"PUSHER_APP_ID", "app", func(c *Config) any { return c.PusherAppID }, "app", withPusher},
		{"PUSHER_KEY", "key", func(c *Config) any { return c.PusherKey }, "key", withPusher},
		{"PUSHER_SECRET", "a-token-of-16-by", func(c *Config) any { return c.PusherSecret.Reveal() }, "a-token-of-16-by", withPusher},
		{"PAYLOAD", "laravel", func(c *Config) any { return c.Payload }, PayloadLaravel, nil},
		{"BROADCAST_AUTH_URL", "http://app/auth", func(c *Config) any { return string(c.BroadcastAuthURL) }, "http://app/auth", withPusher},
		{"PUBLISH_TOKEN", "a-token-of-16-by", func(c *Config) any { return c.PublishToken.Reveal() }, "a-token-of-16-by", nil},
		{"LOG_LEVEL", "debug", func(c *Config) any { return c.LogLevel.Level() }, slog.LevelDebug, nil},
		{"READER", "goroutine", func(c *Config) any { return c.Reader }, ReaderGoroutine, nil},
		{"LOG_FORMAT", "text", func(c *Config) any { return c.LogFormat }, TextFormat, nil},
	}
}

// certificateFile returns the path of a PEM file with a certificate.
func certificateFile(t *testing.T) string {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	return writeFile(t, "ca.pem", string(pem.EncodeToMemory(block)))
}

const privatePEM = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
`

const publicPEM = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
`

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func effective(t *testing.T, c *Config, name string) Setting {
	t.Helper()
	for _, s := range c.Effective() {
		if s.Name == Prefix+name {
			return s
		}
	}
	t.Fatalf("Effective lacks %s", name)
	return Setting{}
}

// TestEverySetting checks that each setting is read from its own variable into
// its own field and is shown as it was set. The same value in the variable
// without the prefix must change nothing.
func TestEverySetting(t *testing.T) {
	rows := settingRows(t)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			base := env(append(slices.Clone(realRedis), row.with...)...)
			if _, given := base[Prefix+row.name]; !given {
				unset := mustLoad(t, base)
				if unset.IsSet(row.name) || effective(t, unset, row.name).FromEnv || reflect.DeepEqual(row.get(unset), row.want) {
					t.Error("the setting counts as set, or the row has the default value")
				}
			}
			// The variable without the prefix.
			before := mustLoad(t, base)
			t.Setenv(row.name, row.value)
			after, _, err := Load()
			if err != nil || !reflect.DeepEqual(before.Effective(), after.Effective()) {
				t.Errorf("%s without its prefix is read (%v)", row.name, err)
			}
			base[Prefix+row.name] = row.value
			c := mustLoad(t, base)
			if got := row.get(c); !reflect.DeepEqual(got, row.want) {
				t.Errorf("read %v, want %v", got, row.want)
			}
			shown := effective(t, c, row.name)
			if shown.Value != row.value && shown.Value != redacted {
				t.Errorf("shown as %q, want %q", shown.Value, row.value)
			}
			if !shown.FromEnv || !c.IsSet(row.name) {
				t.Error("the setting does not count as set")
			}
		})
	}
	for _, s := range settings() {
		if !slices.ContainsFunc(rows, func(row settingRow) bool { return row.name == s.name }) {
			t.Errorf("no row for %s", s.name)
		}
	}
}

// TestBareRedisURLKeepsEmbeddedMode checks that variables of a PHP application
// do not change the mode.
func TestBareRedisURLKeepsEmbeddedMode(t *testing.T) {
	setenv(t, nil)
	t.Setenv("REDIS_URL", "redis://application:6379")
	t.Setenv("EMBEDDED", "false")
	c, warnings, err := Load()
	if err != nil || !c.IsEmbedded() || len(warnings) > 0 {
		t.Errorf("embedded %v, warnings %v, error %v", c.IsEmbedded(), warnings, err)
	}
}

// TestVariableNames checks that the tables have the names of the variables that
// envconfig reads.
func TestVariableNames(t *testing.T) {
	for _, s := range settings() {
		var name strings.Builder
		if err := envconfig.Usagef(envPrefix, s.spec(false).Interface(), &name, "{{range .}}{{usage_key .}}{{end}}"); err != nil {
			t.Errorf("%s: %v", s.field.Name, err)
		}
		if name.String() != Prefix+s.name {
			t.Errorf("envconfig reads %s, and the tables have %s", name.String(), Prefix+s.name)
		}
	}
}

// TestTags checks that the tags of the fields have the properties that the
// comment of Config describes.
func TestTags(t *testing.T) {
	decoder := reflect.TypeFor[envconfig.Decoder]()
	for _, s := range settings() {
		tag := s.field.Tag
		if tag.Get("split_words") != "true" {
			t.Errorf("%s: no split_words, so the words of the name are not separated", s.name)
		}
		for _, foreign := range []string{"envconfig", "required", "ignored"} {
			if _, ok := tag.Lookup(foreign); ok {
				t.Errorf("%s: tag %s; envconfig would read the variable without the prefix too, or do its own checks", s.name, foreign)
			}
		}
		if tag.Get("desc") == "" || strings.ContainsAny(tag.Get("desc"), "|`\n") || s.heading == "" {
			t.Errorf("%s: no description or heading for the tables, or one that breaks them", s.name)
		}
		if s.field.Type.Kind() != reflect.String && !reflect.PointerTo(s.field.Type).Implements(decoder) {
			t.Errorf("%s: type %v has no Decode, so envconfig would report its faults", s.name, s.field.Type)
		}
		low, hasLow := s.bound("min")
		high, hasHigh := s.bound("max")
		if hasLow != hasHigh || hasLow && low.Int() > high.Int() {
			t.Errorf("%s: bounds %v and %v", s.name, tag.Get("min"), tag.Get("max"))
		}
		switch s.field.Type {
		case reflect.TypeFor[Duration](), reflect.TypeFor[Size](), reflect.TypeFor[Rate](), reflect.TypeFor[AutoCount]():
			if !hasLow {
				t.Errorf("%s: a number without bounds", s.name)
			}
		}
	}
}

// TestNamesClearOfServiceLinks checks that no setting has a name that
// Kubernetes could set for a Service. Kubernetes adds such variables to the
// environment of every pod.
func TestNamesClearOfServiceLinks(t *testing.T) {
	for _, s := range settings() {
		if strings.HasPrefix(s.name, "PORT") || strings.HasPrefix(s.name, "SERVICE_") || serviceLink(s.variable()) {
			t.Errorf("%s could be a service link", s.variable())
		}
		bare, ok := strings.CutSuffix(s.name, fileSuffix)
		if ok && slices.ContainsFunc(settings(), func(s setting) bool { return s.name == bare }) {
			t.Errorf("%s could be the file of a secret", s.variable())
		}
	}
}

func TestIsSetPanicsOnUnknownNames(t *testing.T) {
	c := mustLoad(t, nil)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	c.IsSet("SIDECAST_LISTEN")
}

// TestConfigIsAnEnvconfigSpecification checks that envconfig can also read the
// whole Config at once, because Config uses its tags.
func TestConfigIsAnEnvconfigSpecification(t *testing.T) {
	setenv(t, env(realRedis...))
	var c Config
	if err := envconfig.Process(envPrefix, &c); err != nil {
		t.Fatal(err)
	}
	loaded := mustLoad(t, env(realRedis...))
	for i, s := range c.Effective() {
		if got := loaded.Effective()[i]; got.Value != s.Value {
			t.Errorf("%s: %q, and %q by Load", s.Name, s.Value, got.Value)
		}
	}
}
