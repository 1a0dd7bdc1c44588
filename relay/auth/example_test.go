package auth_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sidecast/relay/auth"
)

// The application creates a token for user 42, and the relay verifies it with
// the same secret.
func ExampleTokens_Verify() {
	const secret = "a secret of 32 bytes, or of more"
	token, err := auth.Mint(auth.MintConfig{
		Secret: secret, Algorithm: "HS256", User: "42", Channels: []string{"chat:*", "inbox:{user}:*"}, TTL: time.Hour,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	tokens := auth.NewTokens(auth.TokensConfig{Keys: auth.SecretKeys(secret), Logger: slog.New(slog.DiscardHandler)})
	id, _ := tokens.Verify(context.Background(), token)
	fmt.Println("user:", id.User)
	for _, channel := range []string{"chat:lobby", "inbox:42:new", "inbox:43:new"} {
		fmt.Println(channel, id.Subscribe.Match(channel))
	}
	// Output:
	// user: 42
	// chat:lobby true
	// inbox:42:new true
	// inbox:43:new false
}

// Mint returns an error if the relay would reject the token: here, because the
// user is missing.
func ExampleMint() {
	_, err := auth.Mint(auth.MintConfig{
		Secret: "a secret of 32 bytes, or of more", Algorithm: "HS256", TTL: time.Hour,
	})
	fmt.Println(err)
	// Output:
	// the user's id is missing or invalid; it must have 1 to 128 bytes and no control characters
}

// While a secret is being replaced, tokens of the previous secret are accepted
// too.
func ExampleSecretKeys() {
	const current, previous = "the secret of today, of 32 bytes", "the one of last year, of 32 bytes"
	tokens := auth.NewTokens(auth.TokensConfig{
		Keys: auth.SecretKeys(current, previous), Logger: slog.New(slog.DiscardHandler),
	})
	for _, secret := range []string{current, previous, "another secret, also of 32 bytes"} {
		token, err := auth.Mint(auth.MintConfig{Secret: secret, Algorithm: "HS256", User: "42", TTL: time.Minute})
		if err != nil {
			fmt.Println(err)
			return
		}
		_, code := tokens.Verify(context.Background(), token)
		fmt.Println(code)
	}
	// Output:
	// ok
	// ok
	// unauthorized
}
