package config

import "fmt"

// Config is everything that can be set, in the order and under the headings of the generated tables.
//
// A setting is one field. Its name is the field's, split into words: MaxPayloadBytes is SIDECAST_MAX_PAYLOAD_BYTES. Its
// type says how it is written and its tags say the rest:
//
//	split_words  always "true"; without it the name would be MAXPAYLOADBYTES
//	default      the value where the variable is unset; left out where there is none
//	embedded     the default in embedded mode where it is another
//	min, max     the bounds of a number, written like a value, both inclusive
//	oneof        the only values that are taken
//	desc         one or two phrases for the tables; what is to be typed stands in single quotes
//
// A field of type [Secret] or [RedisURL] can also be given as a file, by the same name and _FILE.
//
// A Config from [Load] is not changed afterwards and may be read by any goroutine. Printing it, as text or JSON or
// through slog, shows no secret.
type Config struct {
	Listeners  `heading:"Listeners"`
	Redis      `heading:"Redis"`
	Rights     `heading:"Channels and rights"`
	Tokens     `heading:"Tokens (JWT)"`
	Login      `heading:"The application's login"`
	Origins    `heading:"Browsers and proxies"`
	Limits     `heading:"Limits"`
	Drain      `heading:"Stopping"`
	Operations `heading:"Operations"`

	set    map[string]bool   // by name: given in the environment, itself or as a file
	faulty map[string]bool   // by name: could not be read, so the field is zero and relations with it say nothing
	files  map[string]string // by name: the file that a secret was read from
}

// Listeners says where Sidecast listens, and whether it brings its own Redis.
type Listeners struct {
	// Embedded stands first because the defaults of all that follow depend on it.
	Embedded    Decision `split_words:"true" default:"auto" oneof:"auto,true,false" desc:"run with a Redis in memory, for development; auto: if SIDECAST_REDIS_URL is unset"`
	Listen      Address  `split_words:"true" default:":8080" embedded:"127.0.0.1:8080" desc:"address for clients, 'host:port' or ':port'"`
	AdminListen Address  `split_words:"true" default:"127.0.0.1:9190" desc:"address for metrics, probes and profiles"`
	TLSCert     CertFile `split_words:"true" desc:"PEM file with a certificate, and those between it and a root: clients connect by TLS"`
	TLSKey      KeyFile  `split_words:"true" desc:"PEM file with its key; both are read again when they change"`
	BasePath    Path     `split_words:"true" desc:"path in front of every URL for clients, like '/live'"`
}

// Redis says how to reach Redis.
type Redis struct {
	RedisURL              RedisURL  `split_words:"true" desc:"'redis://[user:password@]host[:port][/db]', 'rediss://' for TLS, or 'unix:///path'; several Sentinels or nodes as '?addr=host:port&addr=host:port'"`
	RedisMode             RedisMode `split_words:"true" default:"standalone" oneof:"standalone,sentinel,cluster" desc:"what the URL leads to: one Redis, Sentinels (the URL names the master: '?master_name=mymaster'), or nodes of a cluster"`
	RedisUsername         string    `split_words:"true" desc:"ACL user; overrides the one in the URL"`
	RedisPassword         Secret    `split_words:"true" desc:"overrides the one in the URL; read again at each connection if it comes from a file"`
	RedisSentinelUsername string    `split_words:"true" desc:"ACL user of the Sentinels; the URL holds Redis's own"`
	RedisSentinelPassword Secret    `split_words:"true" desc:"password of the Sentinels"`
	RedisCA               CertFile  `split_words:"true" desc:"PEM file with the certificates to trust for 'rediss://', in place of the system's"`
	RedisProtocol         Count     `split_words:"true" default:"2" oneof:"2,3" desc:"RESP version"`
	Markers               Decision  `split_words:"true" default:"auto" oneof:"auto,false" desc:"publish markers to Redis, so that a client can resume at another replica; auto: where Redis permits it"`
}

// Rights says what is relayed, and who may hear it and publish to it. No name here has the channel prefix.
type Rights struct {
	Channels        List   `split_words:"true" embedded:"*" desc:"patterns of the channels to relay, as in PSUBSCRIBE; with a real Redis these or SIDECAST_DURABLE_CHANNELS are required"`
	DurableChannels List   `split_words:"true" desc:"patterns of the channels that are Redis streams, so that nothing is lost; they come before SIDECAST_CHANNELS"`
	DurableLength   Count  `split_words:"true" default:"1000" min:"0" max:"1000000000" desc:"entries to which a stream is trimmed, about, when a browser publishes to it; 0: not at all"`
	PublicChannels  List   `split_words:"true" embedded:"*" desc:"patterns of the channels that anyone may hear; with a real Redis required unless clients can log in"`
	PublishChannels List   `split_words:"true" embedded:"*" desc:"patterns of the channels that any client may publish to"`
	DefaultChannels List   `split_words:"true" embedded:"chat" desc:"channels joined by a raw client that names none"`
	UserChannels    List   `split_words:"true" default:"user:{user}" desc:"channels of each user's own, by name: open to the user and joined by itself"`
	PublishFormat   Format `split_words:"true" default:"raw" oneof:"raw,json" desc:"what Redis gets of what a client publishes: the bare payload, or a JSON object that also says who sent it"`
	ChannelPrefix   string `split_words:"true" desc:"put before every channel's name in Redis, for frameworks that prefix theirs"`
	KeyPrefix       string `split_words:"true" default:"sidecast:" desc:"begins the names in Redis that are Sidecast's own; the same for all replicas"`
}

// Tokens says which tokens tell who a client is. One kind of key verifies them all.
type Tokens struct {
	JWTSecret         Secret     `split_words:"true" desc:"secret shared with the application, for HS256, HS384 and HS512"`
	JWTPreviousSecret Secret     `split_words:"true" desc:"the secret before that one, believed beside it while it is being replaced"`
	JWTPublicKey      PublicKey  `split_words:"true" desc:"public key in PEM, or the path of its file: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA"`
	JWTJwksURL        WebURL     `split_words:"true" desc:"URL of a set of public keys (JWKS), 'https://' or on this machine"`
	JWTAlgorithms     List       `split_words:"true" desc:"algorithms that tokens may be signed with, in place of all that the key serves"`
	JWTIssuer         string     `split_words:"true" desc:"issuer (iss) that a token must name"`
	JWTAudience       string     `split_words:"true" desc:"audience (aud) that a token must name"`
	JWTCookie         CookieName `split_words:"true" desc:"name of a cookie that may hold a token"`
}

// Login says where the application is asked about its users.
type Login struct {
	AuthURL         WebURL   `split_words:"true" desc:"URL of the application that says who a browser is, asked with its cookies"`
	ChannelAuthURL  WebURL   `split_words:"true" desc:"URL of the application that says whether a browser may hear a channel that nothing else opens"`
	AuthTimeout     Duration `split_words:"true" default:"2s" min:"50ms" max:"30s" desc:"how long one such answer may take"`
	AuthCache       Duration `split_words:"true" default:"10s" min:"0s" max:"10m" desc:"how long a yes is kept for the same cookies; a no is kept 1s at most"`
	AuthConcurrency Count    `split_words:"true" default:"32" min:"1" max:"1000" desc:"such requests at once; 8 times as many may wait"`
}

// Origins says which pages may connect, and which peers speak for others.
type Origins struct {
	AllowedOrigins OriginList  `split_words:"true" desc:"pages that may connect, in place of those of the same host: 'https://app.example.com', 'https://*.example.com', or '*' alone"`
	TrustedProxies NetworkList `split_words:"true" desc:"addresses and CIDR ranges whose X-Forwarded-Host and X-Forwarded-For are believed"`
}

// Limits bounds what clients and publishers can use up.
type Limits struct {
	MaxConnections        AutoCount `split_words:"true" default:"auto" min:"1" max:"10000000" desc:"connections at once; auto: 80 % of the file descriptors, at most 50000"`
	MaxConnectionsPerIP   Count     `split_words:"true" default:"1000" min:"0" max:"10000000" desc:"connections at once from one address of the open Internet, or that a trusted proxy names; IPv6 by /64; 0: any number"`
	MaxConnectRatePerIP   Count     `split_words:"true" default:"200" min:"0" max:"1000000" desc:"new connections a second from one such address; 0: any number"`
	MaxChannelsPerSession Count     `split_words:"true" default:"128" min:"1" max:"10000" desc:"channels that one client may hear"`
	MaxInboundBytes       Size      `split_words:"true" default:"16KiB" min:"128" max:"16MiB" desc:"largest message from a client"`
	MaxPayloadBytes       Size      `split_words:"true" default:"1MiB" min:"128" max:"256MiB" desc:"largest message from Redis; larger ones are dropped and told as a gap"`
	OutboxBytes           Size      `split_words:"true" default:"2MiB" min:"256" max:"1GiB" desc:"bytes that may wait for one slow client; at least twice SIDECAST_MAX_PAYLOAD_BYTES"`
	OutboxTotalBytes      Size      `split_words:"true" default:"256MiB" min:"256" max:"1TiB" desc:"bytes that may wait for all slow clients together"`
	HistoryBytes          Size      `split_words:"true" default:"64MiB" min:"0" max:"16GiB" desc:"bytes of messages kept for clients that come back; 0: none, and no cursors"`
	HistoryAge            Duration  `split_words:"true" default:"5m" min:"1s" max:"24h" desc:"how long messages are kept for them"`
	WriteTimeout          Duration  `split_words:"true" default:"10s" min:"100ms" max:"10m" desc:"how long anything may wait for a slow client"`
	PingInterval          Duration  `split_words:"true" default:"25s" min:"1s" max:"10m" desc:"time between pings to an idle client"`
	PongTimeout           Duration  `split_words:"true" default:"10s" min:"100ms" max:"10m" desc:"how long an answer to a ping may take; less than SIDECAST_PING_INTERVAL"`
	CommandRate           Rate      `split_words:"true" default:"20" min:"1" max:"10000" desc:"commands a second from one client; 2.5 times as many in a burst"`
}

// Drain says how Sidecast stops.
type Drain struct {
	DrainDelay   Duration `split_words:"true" default:"5s" min:"0s" max:"1h" desc:"after SIGTERM: time unready but serving, for load balancers to notice"`
	DrainTimeout Duration `split_words:"true" default:"25s" min:"0s" max:"1h" desc:"after that delay: time over which the closes are spread"`
}

// Operations is for those who run it.
type Operations struct {
	ReadyNeedsRedis Switch    `split_words:"true" default:"false" desc:"answer 503 on '/readyz' while Redis is away"`
	Demo            Switch    `split_words:"true" default:"false" embedded:"true" desc:"serve the demo page at '/'"`
	AdminToken      Secret    `split_words:"true" desc:"bearer token for profiles and changes on the admin listener"`
	LogLevel        Level     `split_words:"true" default:"info" oneof:"debug,info,warn,error" desc:"least severe line to log"`
	LogFormat       LogFormat `split_words:"true" default:"auto" oneof:"auto,text,json" desc:"auto: text on a terminal, else json"`
}

// IsEmbedded reports whether Sidecast runs with its own Redis: as EMBEDDED says, and for `auto` if no REDIS_URL is set.
func (c *Config) IsEmbedded() bool {
	switch c.Embedded {
	case True:
		return true
	case False:
		return false
	}
	return !c.RedisURL.IsSet() && !c.set["REDIS_URL"]
}

// HasLogin reports whether there is a way for a client to become somebody. A way that is set wrongly counts, so that one
// fault does not make two.
func (c *Config) HasLogin() bool {
	for _, name := range loginSettings {
		if c.set[name] {
			return true
		}
	}
	return false
}

// loginSettings are those that each suffice to let clients become somebody.
var loginSettings = []string{"JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL", "AUTH_URL", "CHANNEL_AUTH_URL"}

// IsSet reports whether the environment gave the setting, itself or as a file. The name is without the prefix: LISTEN.
// It panics on a name that is no setting.
func (c *Config) IsSet(name string) bool {
	if _, ok := settingNamed(name); !ok {
		panic(fmt.Sprintf("config.IsSet(%q): no such setting", name))
	}
	return c.set[name]
}
