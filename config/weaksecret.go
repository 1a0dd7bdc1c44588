package config

import (
	"fmt"
	"strings"
)

// Minimum lengths of secrets in bytes. An attacker who has a token can try
// secrets without asking the relay, so a secret for tokens must be longer than a
// password (RFC 7518 section 3.2).
const (
	minJWTSecret    = 32
	minEventsSecret = 32
	minAdminToken   = 16
)

// secrets rejects secrets that can be guessed.
func (v *validation) secrets() {
	c := v.c
	for _, s := range []struct {
		name   string
		secret Secret
		least  int
	}{
		{"JWT_SECRET", c.JWTSecret, minJWTSecret},
		{"JWT_PREVIOUS_SECRET", c.JWTPreviousSecret, minJWTSecret},
		{"EVENTS_SECRET", c.EventsSecret, minEventsSecret},
		{"ADMIN_TOKEN", c.AdminToken, minAdminToken},
		{"PUBLISH_TOKEN", c.PublishToken, minAdminToken},
	} {
		if !v.valid(s.name) || !s.secret.IsSet() || len(strings.TrimSpace(s.secret.Reveal())) >= s.least {
			continue
		}
		remedy := "make one with `openssl rand -base64 32`"
		if s.name == "JWT_PREVIOUS_SECRET" {
			remedy = "unset it, and issue new tokens: those that it signed can be forged"
		}
		v.faults.Add(s.name, fmt.Sprintf("is shorter than %d bytes, so that it can be guessed", s.least), remedy)
	}
}
