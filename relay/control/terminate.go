package control

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Terminate logs a user out, as applications do: it revokes the logins of the
// user that exist now, and publishes the action that closes the user's
// connections to all relays. A revocation of a later time stays.
func (c *Control) Terminate(ctx context.Context, user string) error {
	action, err := json.Marshal(map[string]string{"action": "disconnect", "user": user})
	if err != nil {
		return fmt.Errorf("encoding the action: %w", err)
	}
	return c.cfg.Link().Do(ctx, func(ctx context.Context, client redis.UniversalClient) error {
		if c.cfg.Login {
			revoked := redis.ZAddArgs{GT: true, Members: []redis.Z{{Score: float64(time.Now().UnixMilli()), Member: "user:" + user}}}
			if err := client.ZAddArgs(ctx, c.key, revoked).Err(); err != nil {
				return err
			}
		}
		return client.Publish(ctx, c.cfg.Names.Public("control"), action).Err()
	})
}
