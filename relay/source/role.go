package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// roleInterval is how often a server is asked whether it is still a master.
// Redis keeps its subscribers when it is demoted.
const roleInterval = 5 * time.Second

var (
	errReplica      = errors.New("the server is a replica: it can lose messages during a resync while it looks healthy")
	errSentinelRole = errors.New("the server is a Sentinel, which does not deliver messages")
	// errRoleUnsupported reports that the server does not answer the question.
	errRoleUnsupported = errors.New("the server does not report its role")
)

// A doer runs commands: a go-redis client, or a single connection of one.
type doer interface {
	Do(ctx context.Context, args ...any) *redis.Cmd
	Process(ctx context.Context, cmd redis.Cmder) error
}

// readRole returns nil for a master, errReplica or errSentinelRole for a server
// that the link must not listen to, errRoleUnsupported if the server refuses to
// answer, and other errors if it could not be asked.
func readRole(ctx context.Context, server doer) error {
	reply, refused := server.Do(ctx, "ROLE").Slice()
	if refused == nil && len(reply) > 0 {
		role, _ := reply[0].(string)
		return classifyRole(role)
	}
	if refused != nil && !isRefusal(refused) {
		return refused
	}
	info, err := server.Do(ctx, "INFO", "replication").Text()
	if err != nil && !isRefusal(err) {
		return err
	}
	err = classifyRole(infoField(info, "role"))
	if errors.Is(err, errRoleUnsupported) && refused != nil {
		return fmt.Errorf("%w: %w", err, refused)
	}
	return err
}

func classifyRole(role string) error {
	switch role {
	case "master":
		return nil
	case "slave":
		return errReplica
	case "sentinel":
		return errSentinelRole
	}
	return errRoleUnsupported
}
