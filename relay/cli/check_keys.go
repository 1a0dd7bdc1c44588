package cli

import (
	"context"
	"fmt"

	"sidecast/config"
	"sidecast/relay/auth"
	"sidecast/relay/source"
)

// checkKeys fetches the keys that verify tokens, if they are at a URL.
func checkKeys(ctx context.Context, cfg *config.Config) []source.Finding {
	url := string(cfg.JWTJwksURL.WebURL)
	if url == "" {
		return nil
	}
	f := source.Finding{Subject: "SIDECAST_JWT_JWKS_URL"}
	switch p := auth.ProbeKeys(ctx, url); p.Count {
	case 0:
		f.Level, f.Text, f.Do = source.LevelFail, p.Why, p.Do+"; until then, no token is accepted"
	case 1:
		f.Text = "it serves 1 key for tokens"
	default:
		f.Text = fmt.Sprintf("it serves %d keys for tokens", p.Count)
	}
	return []source.Finding{f}
}
