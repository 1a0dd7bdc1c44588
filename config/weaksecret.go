package config

import (
	"fmt"
	"strings"
)

// Minimum lengths of secrets in bytes. An attacker who has a token or a
// signature can try secrets without asking the relay, so a secret that signs must
// be longer than a password (RFC 7518 section 3.2).
const (
	minSigningSecret = 32
	minAdminToken    = 16
)

// secrets rejects secrets that can be guessed.
func (v *validation) secrets() {
	c := v.c
	for _, s := range []struct {
		name   string
		secret Secret
		least  int
	}{
		{"JWT_SECRET", c.JWTSecret, minSigningSecret},
		{"JWT_PREVIOUS_SECRET", c.JWTPreviousSecret, minSigningSecret},
		{"CHANNEL_SECRET", c.ChannelSecret, minSigningSecret},
		{"CHANNEL_PREVIOUS_SECRET", c.ChannelPreviousSecret, minSigningSecret},
		{"EVENTS_SECRET", c.EventsSecret, minSigningSecret},
		{"PUSHER_SECRET", c.PusherSecret, minAdminToken}, // what Laravel generates has 20 bytes
		{"ADMIN_TOKEN", c.AdminToken, minAdminToken},
		{"PUBLISH_TOKEN", c.PublishToken, minAdminToken},
	} {
		if !v.valid(s.name) || !s.secret.IsSet() || len(strings.TrimSpace(s.secret.Reveal())) >= s.least {
			continue
		}
		remedy := "make one with `openssl rand -base64 32`"
		switch s.name {
		case "JWT_PREVIOUS_SECRET":
			remedy = "unset it, and issue new tokens: those that it signed can be forged"
		case "CHANNEL_PREVIOUS_SECRET":
			remedy = "unset it, and sign channels again: what it signed can be forged"
		}
		v.faults.Add(s.name, fmt.Sprintf("is shorter than %d bytes, so that it can be guessed", s.least), remedy)
	}
}
