package config

import "strings"

// Validate returns what is wrong between settings; what is wrong within one, Load has found. It does no I/O and leaves
// the Config as it is. Relations with a setting that could not be read are passed over.
func (c *Config) Validate() Faults {
	v := validation{c: c}
	v.mode()
	v.redis()
	v.names()
	v.tokens()
	v.origins()
	v.limits()
	if v.settled("LISTEN", "ADMIN_LISTEN") && c.Listen.clash(c.AdminListen) {
		v.faults.Add("ADMIN_LISTEN", "has the same port as "+Prefix+"LISTEN", "write another port")
	}
	if v.settled("ADMIN_TOKEN") && strings.ContainsFunc(c.AdminToken.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		v.faults.Add("ADMIN_TOKEN", "has white space or letters beyond ASCII in it, which no HTTP header carries",
			"write printable ASCII alone")
	}
	return v.faults
}

// A validation collects what Validate finds.
type validation struct {
	c      *Config
	faults Faults
}

// settled reports whether all of these settings could be read.
func (v *validation) settled(names ...string) bool {
	for _, name := range names {
		if v.c.faulty[name] {
			return false
		}
	}
	return true
}

// mode checks what embedded mode forbids and a real Redis requires.
func (v *validation) mode() {
	c, set := v.c, v.c.set
	if c.IsEmbedded() {
		if set["REDIS_URL"] {
			v.faults.Add("EMBEDDED", "is true, and "+Prefix+"REDIS_URL is set", "unset one of them")
			return
		}
		for _, name := range []string{"REDIS_MODE", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_SENTINEL_USERNAME", "REDIS_SENTINEL_PASSWORD", "REDIS_CA"} {
			if set[name] {
				v.faults.Add(name, "is set, but "+Prefix+"REDIS_URL is not", "set "+Prefix+"REDIS_URL, or unset this")
			}
		}
		return
	}
	if !set["REDIS_URL"] && !c.RedisURL.IsSet() {
		v.faults.Add("REDIS_URL", "is unset, and "+Prefix+"EMBEDDED is false", "set it, like redis://localhost:6379")
	}
	if v.settled("CHANNELS", "DURABLE_CHANNELS") && len(c.Channels)+len(c.DurableChannels) == 0 {
		v.faults.Add("CHANNELS", "is unset: nothing would be relayed",
			"set it to the patterns of your channels, like chat:*, or set "+Prefix+"DURABLE_CHANNELS")
	}
	if v.settled("PUBLIC_CHANNELS") && len(c.PublicChannels) == 0 && !c.HasLogin() {
		v.faults.Add("PUBLIC_CHANNELS", "is unset, and no client can log in: nobody could hear anything",
			"set it to the patterns that anyone may hear, like chat:*, or set "+Prefix+"AUTH_URL or "+Prefix+"JWT_SECRET")
	}
}

// redis checks the credentials against the URL.
func (v *validation) redis() {
	u := v.c.RedisURL
	if !v.settled("REDIS_URL", "REDIS_USERNAME", "REDIS_PASSWORD") || !u.IsSet() {
		return
	}
	// go-redis sends no user without a password, and Redis then takes the connection as its default user's.
	if (u.hasUser || v.c.RedisUsername != "") && !u.hasPassword && !v.c.RedisPassword.IsSet() {
		name := "REDIS_URL"
		if v.c.RedisUsername != "" {
			name = "REDIS_USERNAME"
		}
		v.faults.Add(name, "names a user without a password",
			"set "+Prefix+"REDIS_PASSWORD; a password alone is written redis://:password@host")
	}
	v.sentinel()
	if v.settled("REDIS_CA") && v.c.RedisCA != "" && !u.tls {
		v.faults.Add("REDIS_CA", "is set, but "+Prefix+"REDIS_URL does not use TLS", "write rediss:// there, or unset this")
	}
}

// sentinel checks what is for Sentinels alone.
func (v *validation) sentinel() {
	c := v.c
	if !v.settled("REDIS_MODE") {
		return
	}
	for _, name := range []string{"REDIS_SENTINEL_USERNAME", "REDIS_SENTINEL_PASSWORD"} {
		if c.set[name] && v.settled(name) && c.RedisMode != ModeSentinel {
			v.faults.Add(name, "is set, but "+Prefix+"REDIS_MODE is "+string(c.RedisMode),
				"set "+Prefix+"REDIS_MODE=sentinel, or unset this")
		}
	}
	if c.RedisMode == ModeSentinel && c.RedisSentinelUsername != "" && !c.set["REDIS_SENTINEL_PASSWORD"] {
		v.faults.Add("REDIS_SENTINEL_USERNAME", "names a user without a password", "set "+Prefix+"REDIS_SENTINEL_PASSWORD")
	}
}

// maxPrefix bounds the prefixes, in bytes.
const maxPrefix = 128

// names checks the prefixes.
func (v *validation) names() {
	c := v.c
	for name, prefix := range map[string]string{"CHANNEL_PREFIX": c.ChannelPrefix, "KEY_PREFIX": c.KeyPrefix} {
		if len(prefix) > maxPrefix {
			v.faults.Add(name, "is longer than 128 bytes", "write a shorter one")
		}
	}
	if !v.settled("CHANNEL_PREFIX", "KEY_PREFIX") {
		return
	}
	// Names that begin so are reserved, so no channel would be left.
	if strings.HasPrefix(c.ChannelPrefix, "__") || c.KeyPrefix != "" && strings.HasPrefix(c.ChannelPrefix, c.KeyPrefix) {
		v.faults.Add("CHANNEL_PREFIX", "begins with __ or with "+Prefix+"KEY_PREFIX: every channel would be reserved",
			"write another prefix")
	}
}

// tokens checks that there is one kind of key, and a key or a URL where something needs one.
func (v *validation) tokens() {
	c, set := v.c, v.c.set
	first := ""
	for _, name := range []string{"JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL"} {
		switch {
		case set[name] && first != "":
			v.faults.Add(name, "is set, and "+Prefix+first+" too", "unset one of them: one kind of key verifies all tokens")
		case set[name]:
			first = name
		}
	}
	if set["JWT_PREVIOUS_SECRET"] && v.settled("JWT_PREVIOUS_SECRET") && !set["JWT_SECRET"] {
		v.faults.Add("JWT_PREVIOUS_SECRET", "is set, but "+Prefix+"JWT_SECRET is not", "set that, or unset this")
	}
	for _, name := range []string{"JWT_ALGORITHMS", "JWT_ISSUER", "JWT_AUDIENCE", "JWT_COOKIE"} {
		if set[name] && v.settled(name) && first == "" {
			v.faults.Add(name, "is set, but no key that verifies tokens",
				"set "+Prefix+"JWT_SECRET, "+Prefix+"JWT_PUBLIC_KEY or "+Prefix+"JWT_JWKS_URL, or unset this")
		}
	}
	for _, name := range []string{"AUTH_TIMEOUT", "AUTH_CACHE", "AUTH_CONCURRENCY"} {
		if set[name] && v.settled(name) && !set["AUTH_URL"] && !set["CHANNEL_AUTH_URL"] {
			v.faults.Add(name, "is set, but no URL to ask", "set "+Prefix+"AUTH_URL or "+Prefix+"CHANNEL_AUTH_URL, or unset this")
		}
	}
	if u := c.JWTJwksURL; v.settled("JWT_JWKS_URL") && u != "" && !u.secure() {
		v.faults.Add("JWT_JWKS_URL", "would bring keys in the clear", "write https://, or a URL on this machine")
	}
	if v.settled("USER_CHANNELS") && strings.ContainsAny(c.UserChannels.String(), `*?[]\`) {
		v.faults.Add("USER_CHANNELS", "has a pattern in it, and these are names to be joined",
			"write names like user:{user}; patterns are for a user's grants")
	}
}

// origins checks that no page of others can use what a browser sends by itself.
func (v *validation) origins() {
	c := v.c
	if !v.settled("ALLOWED_ORIGINS") || c.AllowedOrigins.String() != "*" {
		return
	}
	for _, name := range []string{"JWT_COOKIE", "AUTH_URL", "CHANNEL_AUTH_URL"} {
		if c.set[name] {
			v.faults.Add("ALLOWED_ORIGINS", "is *, and "+Prefix+name+" is set: any page could act as whoever looks at it",
				"list the origins of your pages")
			return
		}
	}
}

// limits checks the bounds that depend on each other.
func (v *validation) limits() {
	c := v.c
	if v.settled("OUTBOX_BYTES", "MAX_PAYLOAD_BYTES") && c.OutboxBytes < 2*c.MaxPayloadBytes {
		v.faults.Add("OUTBOX_BYTES", c.OutboxBytes.String()+" is less than twice "+Prefix+"MAX_PAYLOAD_BYTES",
			"write "+(2*c.MaxPayloadBytes).String()+" or more, or lower that")
	}
	if v.settled("OUTBOX_TOTAL_BYTES", "OUTBOX_BYTES") && c.OutboxTotalBytes < c.OutboxBytes {
		v.faults.Add("OUTBOX_TOTAL_BYTES", c.OutboxTotalBytes.String()+" is less than "+Prefix+"OUTBOX_BYTES",
			"write "+c.OutboxBytes.String()+" or more, or lower that")
	}
	if v.settled("PONG_TIMEOUT", "PING_INTERVAL") && c.PongTimeout >= c.PingInterval {
		v.faults.Add("PONG_TIMEOUT", c.PongTimeout.String()+" is not less than "+Prefix+"PING_INTERVAL, "+c.PingInterval.String(),
			"write less, or raise that")
	}
	if v.settled("DEFAULT_CHANNELS", "MAX_CHANNELS_PER_SESSION") && len(c.DefaultChannels) > int(c.MaxChannelsPerSession) {
		v.faults.Add("DEFAULT_CHANNELS", "names more channels than "+Prefix+"MAX_CHANNELS_PER_SESSION permits",
			"write fewer, or raise that")
	}
}
