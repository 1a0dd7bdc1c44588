package source

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// checkServer checks the limits of the server.
func (c *check) checkServer(ctx context.Context) {
	c.checkClients(ctx)
	c.checkMemory(ctx)
	c.checkBuffers(ctx)
}

// info asks a server for a section. It returns an empty string, after it has
// added a finding, if the server does not answer.
func (c *check) info(ctx context.Context, server redis.UniversalClient, subject, section string) string {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	info, err := server.Info(ctx, section).Result()
	switch {
	case err != nil && !isRefusal(err):
		c.failure(subject, err)
		return ""
	case err != nil || info == "":
		c.ok(subject, "not checked: the server does not report this")
		return ""
	}
	return info
}

// infoNumber returns a number in the answer to INFO; 0 if it is not there.
func infoNumber(info, name string) int64 {
	n, _ := strconv.ParseInt(infoField(info, name), 10, 64)
	return n
}

func (c *check) checkClients(ctx context.Context) {
	if info := c.info(ctx, c.node, "clients", "clients"); info != "" {
		level, text, do := clientsFinding(info)
		c.add(level, "clients", text, do)
	}
}

// relayConnections is how many connections to one server a relay may open.
const relayConnections = 20

// clientsFinding describes how close a server is to its limit of clients.
func clientsFinding(info string) (level Level, text, do string) {
	limit := infoNumber(info, "maxclients")
	used := infoNumber(info, "connected_clients") + infoNumber(info, "cluster_connections")
	if limit == 0 {
		return LevelOK, fmt.Sprintf("%d are connected; the server does not report its limit", used), ""
	}
	text = fmt.Sprintf("%d of %d connections are in use", used, limit)
	if left := limit - used; left < relayConnections || left < limit/10 {
		return LevelWarn, text + fmt.Sprintf("; a relay may need %d, and receives nothing if Redis refuses them", relayConnections),
			"raise maxclients in Redis (and its limit of open files), or close other clients"
	}
	return LevelOK, text, ""
}
