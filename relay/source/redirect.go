package source

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/loopback"
)

// If the nodes of a cluster do not agree on where a key is, a command is tried
// up to moveAttempts more times, first after moveWait and then after twice as
// long each time. In each attempt it follows maxRedirects redirects at most.
const (
	moveAttempts = 4
	moveWait     = 20 * time.Millisecond
	maxRedirects = 3
)

// A streamNode runs commands at one server, or at the master that has a key.
type streamNode struct {
	redis.UniversalClient
	asking bool // the node is only receiving the key's slot, and needs ASKING before each command
}

// run sends the commands over one connection and returns the first error. If a
// command fails because ASKING before it was refused, its error is that of
// ASKING.
func (n streamNode) run(ctx context.Context, commands ...redis.Cmder) error {
	if len(commands) == 1 && !n.asking {
		return n.Process(ctx, commands[0])
	}
	asked := make([]*redis.Cmd, len(commands))
	_, err := n.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, command := range commands {
			if n.asking {
				asked[i] = p.Do(ctx, "ASKING")
			}
			_ = p.Process(ctx, command)
		}
		return nil
	})
	for i, command := range commands {
		if n.asking && command.Err() != nil && asked[i].Err() != nil {
			command.SetErr(asked[i].Err())
		}
	}
	return err
}

// runAtMaster calls f with the master that has the key, and again for each
// redirect: the node that answers with one has not executed the command.
func (s *streams) runAtMaster(
	ctx context.Context, cluster router, key string, f func(streamNode) error,
) error {
	for attempt := 0; ; attempt++ {
		master, err := cluster.MasterForKey(ctx, key)
		if err != nil {
			return err
		}
		err = f(streamNode{UniversalClient: master})
		for range maxRedirects {
			addr, ask := redirectIn(err)
			if addr == "" {
				break
			}
			if !ask {
				cluster.ReloadState(ctx) // asynchronous
			}
			err = s.runAt(sameNetwork(addr, master.Options().Addr), ask, f)
		}
		if addr, _ := redirectIn(err); addr == "" || attempt == moveAttempts {
			return err
		}
		cluster.ReloadState(ctx)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(moveWait << attempt):
		}
	}
}

// runAt calls f with a node that go-redis may not know, because it has no slots
// yet. The connection is not kept: redirects end when go-redis has learned of
// the move.
func (s *streams) runAt(addr string, ask bool, f func(streamNode) error) error {
	node := s.server.nodeClient(addr)
	defer node.Close()
	return f(streamNode{node, ask})
}

// redirectIn returns the address to which a node of a cluster redirects, and
// whether it does so only for this command, or "" if err is not a redirect.
func redirectIn(err error) (addr string, ask bool) {
	if err == nil {
		return "", false
	}
	if addr, ok := redis.IsMovedError(err); ok {
		return addr, false
	}
	addr, ask = redis.IsAskError(err)
	return addr, ask
}

// sameNetwork returns the address to dial for one that a node announces: a node
// that does not know its host announces no host, or a loopback address, and is
// then at the host that was dialled.
func sameNetwork(announced, dialled string) string {
	host, port, err := net.SplitHostPort(announced)
	dialledHost, _, dialledErr := net.SplitHostPort(dialled)
	unknown := host == "" || host == "?" || loopback.Host(host) && !loopback.Host(dialledHost)
	if err != nil || dialledErr != nil || !unknown {
		return announced
	}
	return net.JoinHostPort(dialledHost, port)
}
