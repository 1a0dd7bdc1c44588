package source

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// roleTick is how often a server is asked whether it is still a master. Redis keeps its subscribers when it is demoted.
const roleTick = 5 * time.Second

var (
	errReplica = errors.New("the server is a replica: it can lose messages during a resync while it looks healthy")
	errRole    = errors.New("the server is a Sentinel and relays no messages")
	// errUnknownRole says that the server does not tell.
	errUnknownRole = errors.New("the server does not tell its role")
)

// asker is a go-redis client or a single conn of one.
type asker interface {
	Do(ctx context.Context, args ...any) *redis.Cmd
}

// askRole returns nil for a master, errReplica or errRole for what must not be listened to, errUnknownRole where the
// server refuses to tell, and other errors where it could not be asked.
func askRole(ctx context.Context, server asker) error {
	reply, err := server.Do(ctx, "ROLE").Slice()
	if err == nil && len(reply) > 0 {
		role, _ := reply[0].(string)
		return judgeRole(role)
	}
	if err != nil && !isRefusal(err) {
		return err
	}
	info, err := server.Do(ctx, "INFO", "replication").Text()
	if err != nil && !isRefusal(err) {
		return err
	}
	for line := range strings.Lines(info) {
		if role, ok := strings.CutPrefix(line, "role:"); ok {
			return judgeRole(strings.TrimSpace(role))
		}
	}
	return errUnknownRole
}

func judgeRole(role string) error {
	switch role {
	case "master":
		return nil
	case "slave":
		return errReplica
	case "sentinel":
		return errRole
	}
	return errUnknownRole
}

// isRefusal reports whether the server answered that it does not run this command for us. A server that wants a password
// first has refused nothing yet.
func isRefusal(err error) bool {
	_, replied := errors.AsType[redis.Error](err)
	return replied && !isUnauthenticated(err.Error()) && !isTransient(err.Error())
}

// inspect is go-redis's OnConnect: it looks at a conn of the link after the login and before anything is subscribed to,
// on the link's goroutine. An error makes go-redis close it.
func (l *Link) inspect(ctx context.Context, conn *redis.Conn) error {
	if ctx.Value(linkKey{}) == nil {
		return nil
	}
	// The name is for whoever reads CLIENT LIST; a server that refuses it is as good.
	if err := conn.Do(ctx, "CLIENT", "SETNAME", "sidecast-link").Err(); err != nil && !isRefusal(err) {
		return err
	}
	err := askRole(ctx, conn)
	if errors.Is(err, errUnknownRole) {
		l.warned.role.Do(l.warnRole)
		err = nil
	}
	if err != nil {
		return err
	}
	if err := l.identify(ctx, conn); err != nil || l.cfg.Server.Mode != Cluster {
		return err
	}
	return l.readBus(ctx, conn)
}

// identify tags the link's conn with the server that it leads to. It is asked on this very conn, so that no failover can
// come between the question and what is heard.
func (l *Link) identify(ctx context.Context, conn asker) error {
	node, err := askNode(ctx, conn)
	if errors.Is(err, errUnknownNode) {
		l.warned.node.Do(l.warnNode)
		return nil
	}
	if t := l.current(); err == nil && t != nil { // dialled a moment ago, on this goroutine
		t.node = node
	}
	return err
}
