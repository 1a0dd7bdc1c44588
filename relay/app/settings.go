package app

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"os"
	"slices"
	"strings"

	"sidecast/config"
	"sidecast/relay/access"
	"sidecast/relay/auth"
	"sidecast/relay/source"
)

// Settings are those of a [config.Config] for which the relay has its own
// types.
type Settings struct {
	Access  *access.Rules
	Redis   source.Server
	Origins *auth.Origins
	Proxies auth.Proxies
	Keys    *auth.Keys // nil if there are no tokens

	// StreamLength is about how many entries a stream keeps when the relay or a
	// command adds one.
	StreamLength int
}

// Translate converts settings. The faults are those that config alone cannot
// see; if there are any, the Settings are incomplete.
func Translate(cfg *config.Config) (*Settings, config.Faults) {
	var faults config.Faults
	s := &Settings{
		Access:       rules(cfg),
		Proxies:      auth.NewProxies(cfg.TrustedProxies),
		Keys:         keys(cfg, &faults),
		StreamLength: int(cfg.DurableLength),
	}
	if cfg.RedisURL.IsSet() {
		var err error
		if s.Redis, err = redisServer(cfg); err != nil {
			faults.Add("REDIS_CA", err.Error(), "set it to a PEM file with certificates, and write the URL with rediss://")
		}
		addRedisCertificate(cfg, &s.Redis, &faults)
	}
	for name, other := range map[string]string{
		"TLS_CERT": "TLS_KEY", "TLS_KEY": "TLS_CERT", "REDIS_CERT": "REDIS_KEY", "REDIS_KEY": "REDIS_CERT",
		"EVENTS_URL": "EVENTS_SECRET", "EVENTS_SECRET": "EVENTS_URL",
	} {
		if cfg.IsSet(name) && !cfg.IsSet(other) {
			faults.Add(other, "is unset, but SIDECAST_"+name+" is set", "set both or neither")
		}
	}
	origins, err := auth.NewOrigins(auth.OriginsConfig{
		Allowed: cfg.AllowedOrigins, Embedded: cfg.IsEmbedded(), Cookies: cfg.HasCookieLogin(), Proxies: s.Proxies,
	})
	if err != nil {
		faults.Add("ALLOWED_ORIGINS", err.Error(), "list the origins of your pages")
	}
	s.Origins = origins
	return s, faults
}

// addRedisCertificate makes the relay present the configured client
// certificate, which it reads at each connection.
func addRedisCertificate(cfg *config.Config, redis *source.Server, faults *config.Faults) {
	if cfg.RedisCert == "" || cfg.RedisKey == "" {
		return
	}
	redis.Certificate = func() (tls.Certificate, error) {
		return tls.LoadX509KeyPair(string(cfg.RedisCert), string(cfg.RedisKey))
	}
	if _, err := redis.Certificate(); err != nil {
		problem := err.Error()
		if strings.Contains(problem, "does not match") { // package tls has no type for this error
			problem = "does not belong to SIDECAST_REDIS_CERT"
		}
		faults.Add("REDIS_KEY", problem, "set it to the file with the key of the certificate in SIDECAST_REDIS_CERT")
	}
}

// rules converts the settings that decide who may subscribe and publish.
func rules(cfg *config.Config) *access.Rules {
	durable := access.Patterns(cfg.DurableChannels)
	return &access.Rules{
		Names:    access.NewNames(cfg.ChannelPrefix, cfg.KeyPrefix),
		Channels: slices.Concat(durable, access.Patterns(cfg.Channels)),
		Durable:  durable,
		Public:   access.Patterns(cfg.PublicChannels),
		Publish:  access.Patterns(cfg.PublishChannels),
		Presence: access.Patterns(cfg.PresenceChannels),
		Login:    cfg.HasLogin(),
		Secrets:  channelSecrets(cfg),
		App:      pusherApp(cfg),
	}
}

// pusherApp returns the application whose clients speak the Pusher protocol, or
// nil.
func pusherApp(cfg *config.Config) *access.App {
	if cfg.PusherKey == "" {
		return nil
	}
	return access.NewApp(cfg.PusherAppID, cfg.PusherKey, cfg.PusherSecret.Reveal())
}

// channelSecrets returns the secrets that verify signed channels, or nil.
func channelSecrets(cfg *config.Config) *access.ChannelSecrets {
	switch {
	case !cfg.ChannelSecret.IsSet():
		return nil
	case cfg.ChannelPreviousSecret.IsSet():
		return access.NewChannelSecrets(cfg.ChannelSecret.Reveal(), cfg.ChannelPreviousSecret.Reveal())
	}
	return access.NewChannelSecrets(cfg.ChannelSecret.Reveal())
}

// keys returns the keys that verify tokens, or nil.
func keys(cfg *config.Config, faults *config.Faults) *auth.Keys {
	var keys *auth.Keys
	var err error
	name := "JWT_SECRET"
	switch {
	case cfg.JWTSecret.IsSet() && cfg.JWTPreviousSecret.IsSet():
		keys = auth.SecretKeys(cfg.JWTSecret.Reveal(), cfg.JWTPreviousSecret.Reveal())
	case cfg.JWTSecret.IsSet():
		keys = auth.SecretKeys(cfg.JWTSecret.Reveal())
	case cfg.JWTPublicKey.IsSet():
		name = "JWT_PUBLIC_KEY"
		keys, err = auth.PublicKey([]byte(cfg.JWTPublicKey.PEM()))
	case cfg.JWTJwksURL.WebURL != "":
		name = "JWT_JWKS_URL"
		keys, err = auth.JWKS(string(cfg.JWTJwksURL.WebURL))
	}
	if err != nil {
		faults.Add(name, err.Error(), "write an RSA key of 2048 bits or more, one of the curve P-256, or Ed25519")
		return nil
	}
	if keys != nil && len(cfg.JWTAlgorithms) > 0 {
		supported := keys.Algorithms()
		if foreign := keys.Restrict(cfg.JWTAlgorithms); len(foreign) > 0 {
			faults.Add("JWT_ALGORITHMS", strings.Join(foreign, " and ")+" cannot be verified by SIDECAST_"+name,
				algorithmsHint(supported, foreign))
		}
	}
	return keys
}

// algorithmsHint returns what to write instead of the names in foreign.
func algorithmsHint(supported, foreign []string) string {
	var wrongCase []string
	for _, name := range foreign {
		for _, known := range supported {
			if strings.EqualFold(name, known) {
				wrongCase = append(wrongCase, known)
			}
		}
	}
	switch {
	case len(wrongCase) == len(foreign):
		return "write " + strings.Join(wrongCase, " and ") + ": the names are case-sensitive"
	case len(supported) == 1:
		return "write " + supported[0]
	}
	return "write one or more of " + strings.Join(supported, ", ")
}

// redisServer returns the configured Redis.
func redisServer(cfg *config.Config) (source.Server, error) {
	mode, err := source.ParseMode(string(cfg.RedisMode))
	if err != nil {
		return source.Server{}, nil // config reported the setting already
	}
	s, err := source.ParseURL(cfg.RedisURL.Reveal(), mode)
	if err != nil {
		return source.Server{Mode: mode}, nil // config reported the URL already
	}
	if s.Protocol == 0 || cfg.IsSet("REDIS_PROTOCOL") {
		s.Protocol = int(cfg.RedisProtocol)
	}
	s.Username = cmp.Or(cfg.RedisUsername, s.Username)
	if cfg.RedisPassword.IsSet() {
		s.Password = cfg.RedisPassword.Reveal()
	}
	if cfg.FromFile("REDIS_PASSWORD") {
		username := s.Username
		s.Credentials = func() (string, string, error) {
			password, err := cfg.Reread("REDIS_PASSWORD")
			return username, password, err
		}
	}
	s.SentinelUsername, s.SentinelPassword = cfg.RedisSentinelUsername, cfg.RedisSentinelPassword.Reveal()
	if cfg.RedisCA == "" {
		return s, nil
	}
	pem, err := os.ReadFile(string(cfg.RedisCA))
	if err != nil {
		return source.Server{Mode: mode}, fmt.Errorf("reading SIDECAST_REDIS_CA: %w", err)
	}
	return s, s.TrustCA(pem)
}
