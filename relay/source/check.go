package source

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// trySubscribe subscribes to one name on a conn of its own and returns Redis's refusal. command is subscribe or
// psubscribe.
func trySubscribe(ctx context.Context, client redis.UniversalClient, command, name string) error {
	sub := client.Subscribe(ctx)
	defer sub.Close()
	subscribe := sub.Subscribe
	if command == "psubscribe" {
		subscribe = sub.PSubscribe
	}
	if err := subscribe(ctx, name); err != nil {
		return err
	}
	_, err := sub.Receive(ctx) // ctx carries a deadline; the conn is given up after it
	return err
}
