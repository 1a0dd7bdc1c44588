package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Config holds all settings, in the order and under the headings of the
// generated tables.
//
// A setting is one field. Its name is the field's name, split into words:
// MaxPayloadBytes is SIDECAST_MAX_PAYLOAD_BYTES. The field's type defines the
// syntax of its value, and the tags define the rest:
//
//	split_words  always "true"; without it the name would be MAXPAYLOADBYTES
//	default      the value if the variable is unset; missing if there is no default
//	embedded     the default in embedded mode, if it differs
//	min, max     the bounds of a number, written like a value, both inclusive
//	oneof        the only values that are accepted
//	desc         one or two phrases for the tables; text that users type is in single quotes
//
// A field of type [Secret] or [RedisURL] can also be read from a file, which
// the variable of the same name with the suffix _FILE names.
//
// A Config that [Load] returned is not changed afterwards and may be read
// concurrently. Printing it, as text or JSON or through slog, shows no secret.
type Config struct {
	Listeners  `heading:"Listeners"`
	Redis      `heading:"Redis"`
	Rights     `heading:"Channels and permissions"`
	Tokens     `heading:"Tokens (JWT)"`
	Login      `heading:"Application login"`
	Signing    `heading:"Signed channels"`
	Pusher     `heading:"Pusher protocol and Laravel"`
	Origins    `heading:"Browsers and proxies"`
	Backend    `heading:"Events for your application"`
	Limits     `heading:"Limits"`
	Drain      `heading:"Shutdown"`
	Operations `heading:"Operations"`

	set    map[string]bool   // by name: set in the environment, directly or as a file
	faulty map[string]bool   // by name: has a fault, so the field is zero and is not compared with other settings
	files  map[string]string // by name: the file from which a secret was read
}

// Listeners defines the addresses on which Sidecast listens, and whether it
// runs its own Redis.
type Listeners struct {
	// Embedded is first because the defaults of the settings after it depend on
	// it.
	Embedded    Decision `split_words:"true" default:"auto" oneof:"auto,true,false" desc:"run with an in-memory Redis, for development; auto: if SIDECAST_REDIS_URL is unset"`
	Listen      Address  `split_words:"true" default:":8080" embedded:"127.0.0.1:8080" desc:"address for clients, 'host:port' or ':port'"`
	AdminListen Address  `split_words:"true" default:"127.0.0.1:9190" desc:"address for the console, metrics, probes, 'sidecast why', 'explain' and 'trace', and profiles (Go pprof)"`
	TLSCert     CertFile `split_words:"true" desc:"PEM file with the certificate and its intermediate certificates; clients then connect with TLS"`
	TLSKey      KeyFile  `split_words:"true" desc:"PEM file with the private key of that certificate; both files are reloaded when they change"`
	BasePath    Path     `split_words:"true" desc:"path prefix of every URL for clients, like '/live'"`
}

// Redis defines how to reach Redis.
type Redis struct {
	RedisURL              RedisURL  `split_words:"true" desc:"'redis://[user:password@]host[:port][/db]', 'rediss://' for TLS, or 'unix:///path'; further Sentinels or nodes as '?addr=host:port&addr=host:port'"`
	RedisMode             RedisMode `split_words:"true" default:"standalone" oneof:"standalone,sentinel,cluster" desc:"kind of servers at the URL: a single Redis, Sentinels (the URL names the master with '?master_name=mymaster'), or nodes of a cluster"`
	RedisUsername         string    `split_words:"true" desc:"ACL user; overrides the user in the URL"`
	RedisPassword         Secret    `split_words:"true" desc:"password; overrides the password in the URL; if it is in a file, the file is read again for each connection"`
	RedisSentinelUsername string    `split_words:"true" desc:"ACL user for the Sentinels; the user in the URL is for Redis only"`
	RedisSentinelPassword Secret    `split_words:"true" desc:"password for the Sentinels"`
	RedisCA               CertFile  `split_words:"true" desc:"PEM file with the certificates to trust for 'rediss://', instead of the system's"`
	RedisCert             CertFile  `split_words:"true" desc:"PEM file with the client certificate, if Redis requires one (tls-auth-clients)"`
	RedisKey              KeyFile   `split_words:"true" desc:"PEM file with the private key of that certificate; both files are read again for each connection"`
	RedisProtocol         Count     `split_words:"true" default:"2" oneof:"2,3" desc:"RESP version; overrides the protocol in the URL"`
	Markers               Decision  `split_words:"true" default:"auto" oneof:"auto,false" desc:"publish short messages (markers) to Redis, by which a client can resume at another relay; auto: if Redis permits it"`
}

// Rights defines which channels are relayed, and who may subscribe and publish
// to them. Names in these settings do not have the channel prefix.
type Rights struct {
	Channels         PatternList `split_words:"true" embedded:"*" desc:"patterns of the channels to relay, as for PSUBSCRIBE; with a real Redis, this or SIDECAST_DURABLE_CHANNELS is required"`
	DurableChannels  PatternList `split_words:"true" desc:"patterns of the channels that are Redis streams, so that no message is lost; they take precedence over SIDECAST_CHANNELS"`
	DurableLength    Count       `split_words:"true" default:"1000" min:"0" max:"1000000000" desc:"approximate number of entries to which a stream is trimmed when a browser publishes to it; 0: no trimming"`
	PublicChannels   PatternList `split_words:"true" embedded:"*" desc:"patterns of the channels that every client may subscribe to; with a real Redis, required unless clients can log in"`
	PublishChannels  PatternList `split_words:"true" embedded:"*" desc:"patterns of the channels that every client may publish to"`
	DefaultChannels  List        `split_words:"true" embedded:"chat" desc:"channels that a raw or SSE client joins if it does not name any"`
	Last             LastList    `split_words:"true" desc:"how many of the newest messages a raw or SSE client first receives of each channel, unless its URL contains 'last': 'price:*=1,chat:*=50', at most 100; the first pattern that matches a channel counts"`
	UserChannels     List        `split_words:"true" default:"user:{user}" desc:"names of each user's own channels; the user may subscribe to them and joins them automatically"`
	PresenceChannels PatternList `split_words:"true" embedded:"*" desc:"patterns of the channels on which the application and other clients can see which users are subscribed"`
	PublishFormat    Format      `split_words:"true" default:"raw" oneof:"raw,json" desc:"form in which Redis receives a client's message: the bare payload, or a JSON object that also identifies the sender"`
	ChannelPrefix    string      `split_words:"true" desc:"prefix that channel names have in Redis, for frameworks that add one; settings and clients use the names without it"`
	KeyPrefix        string      `split_words:"true" default:"sidecast:" desc:"prefix of the keys and channels of Sidecast itself in Redis; must be the same for all relays; members and unheard messages in a cluster need one with braces, like '{sidecast}:'"`
}

// Tokens defines which tokens identify a client. One kind of key verifies all
// of them.
type Tokens struct {
	JWTSecret         Secret     `split_words:"true" desc:"secret of at least 32 bytes that the application shares, for HS256, HS384 and HS512"`
	JWTPreviousSecret Secret     `split_words:"true" desc:"previous value of that secret, also accepted while you replace it"`
	JWTPublicKey      PublicKey  `split_words:"true" desc:"public key in PEM, or the path of its file: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA"`
	JWTJwksURL        KeysURL    `split_words:"true" desc:"URL of a set of public keys (JWKS): 'https://', or 'http://' on this machine"`
	JWTAlgorithms     List       `split_words:"true" desc:"signature algorithms to accept, instead of all that the key supports"`
	JWTIssuer         string     `split_words:"true" desc:"issuer (iss) that a token must have"`
	JWTAudience       string     `split_words:"true" desc:"audience (aud) that a token must have"`
	JWTCookie         CookieName `split_words:"true" desc:"name of a cookie that may contain a token"`
}

// Login defines how Sidecast asks the application about its users.
type Login struct {
	AuthURL         WebURL   `split_words:"true" desc:"URL at which your application identifies the user of a browser; Sidecast sends the browser's cookies"`
	ChannelAuthURL  WebURL   `split_words:"true" desc:"URL at which your application decides whether a browser may subscribe to a channel, if nothing else allows it"`
	AuthTimeout     Duration `split_words:"true" default:"2s" min:"50ms" max:"30s" desc:"timeout of one such request"`
	AuthCache       Duration `split_words:"true" default:"10s" min:"0s" max:"10m" desc:"how long a positive answer is cached for the same cookies; a negative answer is cached for at most 1s"`
	AuthConcurrency Count    `split_words:"true" default:"32" min:"1" max:"1000" desc:"maximum number of such requests at a time; 8 times as many may wait"`
	RevokedAge      Duration `split_words:"true" default:"720h" min:"0s" max:"87600h" desc:"how long Redis and the relay remember the logins that your application has ended; longer than any token is valid; 0: for ever"`
}

// Signing defines which signatures open a channel without a login.
type Signing struct {
	ChannelSecret         Secret `split_words:"true" desc:"secret of at least 32 bytes that the application shares, with which it signs single channels"`
	ChannelPreviousSecret Secret `split_words:"true" desc:"previous value of that secret, also accepted while you replace it"`
}

// Pusher defines the application whose clients speak the Pusher protocol.
type Pusher struct {
	PusherAppID      string  `split_words:"true" desc:"id of your application in the URLs of the HTTP API (PUSHER_APP_ID or REVERB_APP_ID in Laravel); unset: there is no such API"`
	PusherKey        string  `split_words:"true" desc:"public key of your application (PUSHER_APP_KEY or REVERB_APP_KEY in Laravel); clients of the Pusher protocol then connect to '/app/KEY'"`
	PusherSecret     Secret  `split_words:"true" desc:"secret of your application, at least 16 bytes (PUSHER_APP_SECRET or REVERB_APP_SECRET in Laravel); required if SIDECAST_PUSHER_KEY is set"`
	Payload          Payload `split_words:"true" default:"auto" oneof:"auto,raw,laravel" desc:"form of the messages in Redis: raw, or Laravel's JSON objects with 'event', 'data' and 'socket'; auto: laravel if SIDECAST_PUSHER_KEY is set, otherwise raw"`
	BroadcastAuthURL WebURL  `split_words:"true" desc:"URL at which your application decides who may subscribe to private and presence channels, like 'http://localhost/broadcasting/auth', if it does not sign them itself (BROADCAST_CONNECTION=redis in Laravel)"`
}

// HasEnvelopes reports whether messages in Redis have Laravel's form.
func (c *Config) HasEnvelopes() bool {
	return c.Payload == PayloadLaravel || c.Payload == PayloadAuto && c.set["PUSHER_KEY"]
}

// Origins defines which pages may connect, and which proxies are trusted.
type Origins struct {
	AllowedOrigins OriginList  `split_words:"true" desc:"origins of the pages that may connect, instead of pages of the same host (over TLS, only those with https): 'https://app.example.com', 'https://*.example.com', 'null' and 'file://' for pages without an origin such as those in apps, or '*' alone"`
	TrustedProxies NetworkList `split_words:"true" desc:"addresses and CIDR ranges of the proxies whose X-Forwarded-Host, X-Forwarded-Proto and X-Forwarded-For are trusted"`
}

// Backend defines what Sidecast tells the application, and how.
type Backend struct {
	Events       EventList   `split_words:"true" default:"joined,left,unheard" desc:"kinds of events to write to the stream 'sidecast:events': 'joined', 'left', 'unheard', 'connected', 'disconnected', 'published', 'evicted', 'refused', or 'none' for no events"`
	Unheard      PatternList `split_words:"true" desc:"patterns of the channels of which messages without a listener at any relay are reported as 'unheard'"`
	EventsURL    HookURL     `split_words:"true" desc:"URL of your application to which Sidecast posts these events (webhooks)"`
	EventsSecret Secret      `split_words:"true" desc:"secret of at least 32 bytes that signs the webhooks"`
	EventsFormat EventFormat `split_words:"true" default:"json" oneof:"json,pusher" desc:"format of the webhooks: Sidecast's own, or that of Pusher Channels"`
}

// Limits bounds the resources that clients and publishers can use.
type Limits struct {
	MaxConnections        AutoCount `split_words:"true" default:"auto" min:"1" max:"10000000" desc:"maximum number of connections, including those that only request pages; auto: 80 % of the file descriptors, at most 50000; 128 descriptors are always kept free"`
	MaxConnectionsPerIP   Count     `split_words:"true" default:"1000" min:"0" max:"10000000" desc:"maximum number of connections from one public address, or from one address that a trusted proxy forwards; IPv6 by /64; 0: no limit"`
	MaxConnectRatePerIP   Count     `split_words:"true" default:"200" min:"0" max:"1000000" desc:"new connections per second from one such address; 0: no limit"`
	MaxChannelsPerSession Count     `split_words:"true" default:"128" min:"1" max:"10000" desc:"maximum number of channels of one client"`
	MaxInboundBytes       Size      `split_words:"true" default:"16KiB" min:"128" max:"16MiB" desc:"largest message from a client"`
	MaxPayloadBytes       Size      `split_words:"true" default:"1MiB" min:"128" max:"256MiB" desc:"largest message from Redis; larger messages are dropped and reported as a gap"`
	OutboxBytes           Size      `split_words:"true" default:"3MiB" min:"256" max:"1GiB" desc:"bytes that may wait for one slow client; at least 8/3 of SIDECAST_MAX_PAYLOAD_BYTES and 64KiB more"`
	OutboxTotalBytes      Size      `split_words:"true" default:"256MiB" min:"256" max:"1TiB" desc:"bytes that may wait for all slow clients together; a message that waits for several clients counts once"`
	HistoryBytes          Size      `split_words:"true" default:"64MiB" min:"0" max:"16GiB" desc:"bytes of messages kept for clients that reconnect; 0: keep no messages and send no cursors"`
	HistoryAge            Duration  `split_words:"true" default:"5m" min:"1s" max:"24h" desc:"how long these messages are kept"`
	PageCacheBytes        Size      `split_words:"true" default:"64MiB" min:"1MiB" max:"16GiB" desc:"bytes of encoded messages and stream entries that clients who reconnect share"`
	BlackboxBytes         Size      `split_words:"true" default:"16MiB" min:"0" max:"1GiB" desc:"bytes of records of what happened, without the messages, for 'sidecast why'; at least 1MiB; 0: keep no records"`
	WriteTimeout          Duration  `split_words:"true" default:"10s" min:"100ms" max:"10m" desc:"how long a client may accept no bytes while messages wait for it"`
	PingInterval          Duration  `split_words:"true" default:"25s" min:"1s" max:"10m" desc:"time between pings to an idle client"`
	PongTimeout           Duration  `split_words:"true" default:"10s" min:"100ms" max:"10m" desc:"how long a client may take to answer a ping; less than SIDECAST_PING_INTERVAL"`
	CommandRate           Rate      `split_words:"true" default:"20" min:"1" max:"10000" desc:"commands per second from one client; 2.5 times as many in a burst"`
}

// Drain defines how Sidecast shuts down.
type Drain struct {
	DrainDelay   Duration `split_words:"true" default:"5s" min:"0s" max:"1h" desc:"time after SIGTERM during which Sidecast still serves but is not ready, so that load balancers notice"`
	DrainTimeout Duration `split_words:"true" default:"25s" min:"0s" max:"1h" desc:"time after that delay over which the closing of the connections is spread"`
}

// Operations holds the settings for administrators.
type Operations struct {
	ReadyNeedsRedis Switch     `split_words:"true" default:"false" desc:"answer 503 on '/readyz' while Redis is unavailable"`
	Demo            Switch     `split_words:"true" default:"false" embedded:"true" desc:"serve the demo page at '/'"`
	AdminToken      Secret     `split_words:"true" desc:"bearer token of at least 16 bytes for the console, 'sidecast why', 'explain' and 'trace', and the profiles on the admin listener; without it, they are available on loopback only"`
	PublishToken    Secret     `split_words:"true" desc:"bearer token of at least 16 bytes with which your application publishes over HTTP, at '/publish' on the admin listener; without it, it cannot"`
	BlackboxFile    string     `split_words:"true" desc:"file for the records of SIDECAST_BLACKBOX_BYTES, which then survive a crash; one for each relay; it contains personal data: names of channels and ids of users"`
	Reader          ReaderKind `split_words:"true" default:"auto" oneof:"auto,goroutine" desc:"how connections without TLS are read: auto: with one event loop for each processor on Linux; goroutine: with one goroutine for each connection, which takes four times as much memory"`
	LogLevel        Level      `split_words:"true" default:"info" oneof:"debug,info,warn,error" desc:"minimum log level"`
	LogFormat       LogFormat  `split_words:"true" default:"auto" oneof:"auto,text,json" desc:"log format; auto: text on a terminal, otherwise json"`
}

// IsEmbedded reports whether Sidecast runs with its own Redis: if EMBEDDED is
// true, or if it is auto and REDIS_URL is unset.
func (c *Config) IsEmbedded() bool {
	return c.Embedded == True || c.Embedded == Auto && !c.RedisURL.IsSet() && !c.set["REDIS_URL"]
}

// loginSettings are the settings of which each one alone lets clients log in.
var loginSettings = []string{"JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL", "AUTH_URL", "CHANNEL_AUTH_URL"}

// LoginSettings returns the names, without the prefix, of the settings of which
// each one alone lets clients log in.
func LoginSettings() []string { return slices.Clone(loginSettings) }

// cookieSettings are the settings of which each one alone lets clients log in
// with the cookies that a browser sends by itself.
var cookieSettings = []string{"JWT_COOKIE", "AUTH_URL", "CHANNEL_AUTH_URL", "BROADCAST_AUTH_URL"}

// HasCookieLogin reports whether a client can log in with a cookie.
func (c *Config) HasCookieLogin() bool {
	return slices.ContainsFunc(cookieSettings, func(name string) bool { return c.set[name] })
}

// HasMethod reports whether a client can get rights that not every client has:
// by a login, or by a signature.
func (c *Config) HasMethod() bool {
	return c.HasLogin() || c.set["CHANNEL_SECRET"] || c.set["PUSHER_KEY"]
}

// HasLogin reports whether a client can log in. A setting that has a fault
// counts, so that one mistake does not cause two faults.
func (c *Config) HasLogin() bool {
	return slices.ContainsFunc(loginSettings, func(name string) bool { return c.set[name] })
}

// IsSet reports whether the setting is set in the environment, directly or as a
// file. The name is without the prefix, such as LISTEN. IsSet panics if there
// is no such setting.
func (c *Config) IsSet(name string) bool {
	if !slices.ContainsFunc(settings(), func(s setting) bool { return s.name == name }) {
		panic(fmt.Sprintf("config.IsSet(%q): no such setting", name))
	}
	return c.set[name]
}

// FromFile reports whether the setting is a secret that was read from a file.
// The name is without the prefix.
func (c *Config) FromFile(name string) bool { return c.files[name] != "" }

// Reread returns the current content of a secret's file, for secrets that are
// replaced while Sidecast runs. The name is without the prefix, and FromFile
// must be true for it. The error contains neither the secret nor the path.
// Reread may be called concurrently.
func (c *Config) Reread(name string) (string, error) {
	text, err := readSecret(c.files[name])
	switch {
	case errors.Is(err, errFileSize):
		return "", err
	case err != nil:
		return "", errors.New(reason(err))
	case strings.TrimSpace(text) == "":
		return "", errors.New("the file is empty")
	}
	return text, nil
}
