package config

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"sidecast/relay/access"
	"sidecast/relay/origin"
	"sidecast/relay/protocol"
	"sidecast/relay/redisurl"
	"sidecast/relay/syntax"
)

// Validate returns the faults that concern several settings; Load has already
// found those that concern a single setting. It does no I/O and does not change
// the Config. It does not compare a setting that Load could not read.
func (c *Config) Validate() Faults {
	v := validation{c: c}
	v.mode()
	v.redis()
	v.prefixes()
	v.clusterKeys()
	v.channels()
	v.unrelayed()
	v.tokens()
	v.secrets()
	v.login()
	v.origins()
	v.events()
	v.pusher()
	v.envelopes()
	v.limits()
	v.admin()
	return v.faults
}

// A validation collects the faults that Validate returns.
type validation struct {
	c      *Config
	faults Faults
}

// valid reports whether Load could read all of these settings.
func (v *validation) valid(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return v.c.faulty[name] })
}

// mode checks the settings that embedded mode forbids, and those that a real
// Redis requires.
func (v *validation) mode() {
	c, set := v.c, v.c.set
	if c.IsEmbedded() {
		if set["REDIS_URL"] {
			v.faults.Add("EMBEDDED", "is true, and "+Prefix+"REDIS_URL is set", "unset one of them")
			return
		}
		for _, name := range []string{
			"REDIS_MODE", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_SENTINEL_USERNAME", "REDIS_SENTINEL_PASSWORD", "REDIS_CA",
			"REDIS_CERT", "REDIS_KEY",
		} {
			if set[name] {
				v.faults.Add(name, "is set, but "+Prefix+"REDIS_URL is not", "set "+Prefix+"REDIS_URL, or unset "+Prefix+name)
			}
		}
		return
	}
	if !set["REDIS_URL"] && !c.RedisURL.IsSet() {
		v.faults.Add("REDIS_URL", "is unset, and "+Prefix+"EMBEDDED is false",
			"set "+Prefix+"REDIS_URL to a URL like redis://localhost:6379")
	}
	if v.valid("CHANNELS", "DURABLE_CHANNELS") && len(c.Channels)+len(c.DurableChannels) == 0 {
		v.faults.Add("CHANNELS", "is unset: nothing would be relayed",
			"set it to the patterns of your channels, like chat:*, or set "+Prefix+"DURABLE_CHANNELS")
	}
	if v.valid("PUBLIC_CHANNELS") && len(c.PublicChannels) == 0 && !c.HasMethod() {
		v.faults.Add("PUBLIC_CHANNELS", "is unset, and clients cannot log in: no client could subscribe",
			"set it to the patterns of your public channels, like chat:*, or set "+Prefix+"AUTH_URL or "+Prefix+"JWT_SECRET")
	}
}

// redis checks the URL against the mode and the credentials.
func (v *validation) redis() {
	c, u := v.c, v.c.RedisURL
	if !v.valid("REDIS_URL") || !u.IsSet() {
		return
	}
	if mode, err := redisurl.ParseMode(string(c.RedisMode)); err == nil {
		if fault, ok := errors.AsType[*syntax.Error](u.Check(mode)); ok {
			v.faults.Add("REDIS_URL", fault.Problem, fault.Hint)
		}
	}
	if !v.valid("REDIS_USERNAME", "REDIS_PASSWORD") {
		return
	}
	// go-redis does not send a user without a password, and then Redis treats
	// the connection as its default user's.
	if (u.Username() != "" || c.RedisUsername != "") && u.Password() == "" && !c.RedisPassword.IsSet() {
		name, problem := "REDIS_URL", "has a user without a password"
		if c.RedisUsername != "" {
			name, problem = "REDIS_USERNAME", "is set without a password"
		}
		v.faults.Add(name, problem,
			"set "+Prefix+"REDIS_PASSWORD; to use a password without a user, write redis://:password@host")
	}
	v.sentinel()
	for _, name := range []string{"REDIS_CA", "REDIS_CERT", "REDIS_KEY"} {
		if v.valid(name) && c.set[name] && !u.TLS {
			v.faults.Add(name, "is set, but "+Prefix+"REDIS_URL does not use TLS",
				"write rediss:// in the URL, or unset "+Prefix+name)
		}
	}
}

// sentinel checks the settings that only Sentinels use.
func (v *validation) sentinel() {
	c := v.c
	if !v.valid("REDIS_MODE") {
		return
	}
	for _, name := range []string{"REDIS_SENTINEL_USERNAME", "REDIS_SENTINEL_PASSWORD"} {
		if c.set[name] && v.valid(name) && c.RedisMode != ModeSentinel {
			v.faults.Add(name, "is set, but "+Prefix+"REDIS_MODE is "+string(c.RedisMode),
				"set "+Prefix+"REDIS_MODE=sentinel, or unset "+Prefix+name)
		}
	}
	if c.RedisMode == ModeSentinel && c.RedisSentinelUsername != "" && !c.set["REDIS_SENTINEL_PASSWORD"] {
		v.faults.Add("REDIS_SENTINEL_USERNAME", "is set without a password", "set "+Prefix+"REDIS_SENTINEL_PASSWORD")
	}
}

// maxPrefix bounds the prefixes, in bytes.
const maxPrefix = 128

// prefixes checks the prefixes of names in Redis.
func (v *validation) prefixes() {
	c := v.c
	for name, prefix := range map[string]string{"CHANNEL_PREFIX": c.ChannelPrefix, "KEY_PREFIX": c.KeyPrefix} {
		if len(prefix) > maxPrefix {
			v.faults.Add(name, "is longer than 128 bytes", "write a shorter prefix")
		}
	}
	if v.valid("CHANNEL_PREFIX", "KEY_PREFIX") && c.reservesAll() {
		start := "__ or with " + Prefix + "KEY_PREFIX"
		if c.KeyPrefix != access.DefaultKeyPrefix && strings.HasPrefix(c.ChannelPrefix, access.DefaultKeyPrefix) {
			start = access.DefaultKeyPrefix
		}
		v.faults.Add("CHANNEL_PREFIX", "begins with "+start+": every channel name would be reserved", "write another prefix")
	}
}

// reservesAll reports whether the channel prefix makes every channel name
// reserved.
func (c *Config) reservesAll() bool {
	return access.NewNames("", c.KeyPrefix).Reserved(c.ChannelPrefix)
}

// channels checks the names of channels that clients join.
func (v *validation) channels() {
	c := v.c
	names := access.NewNames(c.ChannelPrefix, c.KeyPrefix)
	checkable := v.valid("CHANNEL_PREFIX", "KEY_PREFIX") && !c.reservesAll()
	if checkable && v.valid("USER_CHANNELS") {
		v.userChannels(names)
	}
	if !v.valid("DEFAULT_CHANNELS") {
		return
	}
	if v.valid("MAX_CHANNELS_PER_SESSION") && len(c.DefaultChannels) > int(c.MaxChannelsPerSession) {
		v.faults.Add("DEFAULT_CHANNELS", "lists more channels than "+Prefix+"MAX_CHANNELS_PER_SESSION allows",
			"list fewer, or increase "+Prefix+"MAX_CHANNELS_PER_SESSION")
		return
	}
	if checkable && v.valid("CHANNELS", "DURABLE_CHANNELS", "PUBLIC_CHANNELS") &&
		len(c.Channels)+len(c.DurableChannels) > 0 && len(c.PublicChannels) > 0 && !c.HasLogin() {
		v.defaultChannels(names)
	}
}

// userChannels checks that each user's own channels are names that a channel
// can have.
func (v *validation) userChannels(names access.Names) {
	if strings.ContainsAny(v.c.UserChannels.String(), `*?[]\`) {
		v.faults.Add("USER_CHANNELS", "contains a pattern, but users join these channels by name",
			"write names like user:{user}; patterns belong in a user's grants")
		return
	}
	for _, channel := range v.c.UserChannels {
		if name := strings.ReplaceAll(channel, userPlaceholder, "1"); !access.ValidChannel(name) || names.Reserved(name) {
			v.faults.Add("USER_CHANNELS", syntax.Quote(channel)+" is not a valid channel name", "write names like user:{user}")
		}
	}
}

// defaultChannels checks that a client that cannot log in may subscribe to the
// channels that it joins.
func (v *validation) defaultChannels(names access.Names) {
	c := v.c
	rules := access.Rules{
		Names:    names,
		Channels: access.Patterns(slices.Concat(c.DurableChannels, c.Channels)),
		Public:   access.Patterns(c.PublicChannels),
	}
	for _, channel := range c.DefaultChannels {
		if code := rules.Subscribe(nil, channel); code != 0 { // 0 is the code for no error
			v.faults.Add("DEFAULT_CHANNELS", syntax.Quote(channel)+" is not a public channel",
				"list channels that match "+Prefix+"CHANNELS and "+Prefix+"PUBLIC_CHANNELS")
		}
	}
}

// tokens checks that there is exactly one kind of key if a setting needs a key.
func (v *validation) tokens() {
	c, set := v.c, v.c.set
	first := ""
	for _, name := range []string{"JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL"} {
		switch {
		case set[name] && first != "":
			v.faults.Add(name, "is set together with "+Prefix+first, "unset one of them: one kind of key verifies all tokens")
		case set[name]:
			first = name
		}
	}
	for previous, current := range map[string]string{
		"JWT_PREVIOUS_SECRET": "JWT_SECRET", "CHANNEL_PREVIOUS_SECRET": "CHANNEL_SECRET",
	} {
		if set[previous] && v.valid(previous) && !set[current] {
			v.faults.Add(previous, "is set, but "+Prefix+current+" is not", "set "+Prefix+current+", or unset "+Prefix+previous)
		}
	}
	for _, name := range []string{"JWT_ALGORITHMS", "JWT_ISSUER", "JWT_AUDIENCE", "JWT_COOKIE"} {
		if set[name] && v.valid(name) && first == "" {
			v.faults.Add(name, "is set, but there is no key that verifies tokens",
				"set "+Prefix+"JWT_SECRET, "+Prefix+"JWT_PUBLIC_KEY or "+Prefix+"JWT_JWKS_URL, or unset "+Prefix+name)
		}
	}
	if u := c.JWTJwksURL; v.valid("JWT_JWKS_URL") && u.WebURL != "" && !u.secure() {
		v.faults.Add("JWT_JWKS_URL", "would transfer keys without encryption", "write https://, or a URL on this machine")
	}
}

// login checks that there is a URL of the application if a setting needs one.
func (v *validation) login() {
	set := v.c.set
	for _, name := range []string{"AUTH_TIMEOUT", "AUTH_CACHE", "AUTH_CONCURRENCY"} {
		if set[name] && v.valid(name) && !set["AUTH_URL"] && !set["CHANNEL_AUTH_URL"] && !set["BROADCAST_AUTH_URL"] {
			v.faults.Add(name, "is set, but there is no URL of the application",
				"set "+Prefix+"AUTH_URL or "+Prefix+"CHANNEL_AUTH_URL, or unset "+Prefix+name)
		}
	}
}

// origins checks that a page of another site cannot use the cookies that a
// browser sends automatically.
func (v *validation) origins() {
	if !v.valid("ALLOWED_ORIGINS") {
		return
	}
	cookies := slices.IndexFunc(cookieSettings, func(name string) bool { return v.c.set[name] })
	if cookies < 0 {
		return
	}
	for _, item := range v.c.AllowedOrigins {
		if item == "*" || origin.Opaque(item) {
			v.faults.Add("ALLOWED_ORIGINS", "allows "+item+", and "+Prefix+cookieSettings[cookies]+
				" is set: every page could act as the user who visits it", "list the origins of your pages")
			return
		}
	}
}

// events checks that events are written, and that there are webhooks, if a
// setting needs them.
func (v *validation) events() {
	if v.c.set["UNHEARD"] && v.valid("UNHEARD", "EVENTS") && !slices.Contains(v.c.Events, protocol.ReportUnheard) {
		v.faults.Add("UNHEARD", "is set, but "+Prefix+"EVENTS does not contain unheard", "add it to "+Prefix+"EVENTS, or unset "+Prefix+"UNHEARD")
	}
	if set := v.c.set; set["EVENTS_FORMAT"] && v.valid("EVENTS_FORMAT") && !set["EVENTS_URL"] {
		v.faults.Add("EVENTS_FORMAT", "is set, but there are no webhooks", "set "+Prefix+"EVENTS_URL, or unset "+Prefix+"EVENTS_FORMAT")
	}
}

// minBlackbox is the least that the records can be limited to.
const minBlackbox Size = 1 << 20

// limits checks the limits that depend on each other.
func (v *validation) limits() {
	c := v.c
	if least := c.leastOutbox(); v.valid("OUTBOX_BYTES", "MAX_PAYLOAD_BYTES") && c.OutboxBytes < least {
		v.faults.Add("OUTBOX_BYTES", c.OutboxBytes.String()+" is too small for two messages of "+Prefix+"MAX_PAYLOAD_BYTES in base64",
			"write "+least.roundUp().String()+" or more, or reduce "+Prefix+"MAX_PAYLOAD_BYTES")
	}
	if v.valid("OUTBOX_TOTAL_BYTES", "OUTBOX_BYTES") && c.OutboxTotalBytes < c.OutboxBytes {
		v.faults.Add("OUTBOX_TOTAL_BYTES", c.OutboxTotalBytes.String()+" is less than "+Prefix+"OUTBOX_BYTES",
			"write "+c.OutboxBytes.String()+" or more, or reduce "+Prefix+"OUTBOX_BYTES")
	}
	if c.BlackboxBytes != 0 && c.BlackboxBytes < minBlackbox {
		v.faults.Add("BLACKBOX_BYTES", c.BlackboxBytes.String()+" is too small", "write "+minBlackbox.String()+" or more, or 0 to keep no records")
	}
	if v.valid("BLACKBOX_BYTES", "BLACKBOX_FILE") && c.BlackboxBytes == 0 && c.set["BLACKBOX_FILE"] {
		v.faults.Add("BLACKBOX_FILE", "is set, but "+Prefix+"BLACKBOX_BYTES is 0", "unset one of them")
	}
	if v.valid("PONG_TIMEOUT", "PING_INTERVAL") && c.PongTimeout >= c.PingInterval {
		v.faults.Add("PONG_TIMEOUT", c.PongTimeout.String()+" is not less than "+Prefix+"PING_INTERVAL, which is "+c.PingInterval.String(),
			"write less, or increase "+Prefix+"PING_INTERVAL")
	}
}

// leastOutbox returns how many bytes one outbox has to hold: two of the largest
// messages in base64, the form in which the JSON protocol sends binary
// messages, and 64 KiB for the names and cursors in their frames and for small
// frames between them.
func (c *Config) leastOutbox() Size {
	return 2*Size(base64.StdEncoding.EncodedLen(c.MaxPayloadBytes.Int())) + 64<<10
}

// admin checks the settings of the admin listener.
func (v *validation) admin() {
	c := v.c
	if v.valid("LISTEN", "ADMIN_LISTEN") && c.Listen.conflicts(c.AdminListen) {
		v.faults.Add("ADMIN_LISTEN", "has the same port as "+Prefix+"LISTEN", "write another port")
	}
	notToken := func(r rune) bool { return r <= ' ' || r > '~' }
	for name, token := range map[string]Secret{"ADMIN_TOKEN": c.AdminToken, "PUBLISH_TOKEN": c.PublishToken} {
		if v.valid(name) && strings.ContainsFunc(token.Reveal(), notToken) {
			v.faults.Add(name, "contains white space or characters that are not ASCII, which an HTTP header cannot contain",
				"write only printable ASCII characters")
		}
	}
}
