package source

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// eventRetry is the time between two attempts to subscribe to keyspace events.
const eventRetry = 5 * time.Second

// streamEvents are the events after which a stream may have new entries.
var streamEvents = []string{"xadd", "restore", "rename_to", "copy_to"}

// listenForEvents delivers the keyspace events of durable channels until ctx
// ends. Redis sends them only if it is configured to, which the relay neither
// checks nor changes. They only announce a new entry earlier: a nudge or a
// periodic read of the stream finds it as well. So they have a connection of
// their own, whose loss costs nothing, and the function gives up if Redis
// refuses the subscription. It does nothing in a cluster, where each node sends
// only the events of its keys.
func listenForEvents(ctx context.Context, l *Link) {
	if len(l.cfg.Durable) == 0 || l.cfg.Embedded || l.cfg.Server.Mode == Cluster {
		return
	}
	prefix := "__keyspace@" + strconv.Itoa(l.cfg.Server.DB) + "__:"
	var patterns []string
	for _, p := range l.cfg.Durable {
		patterns = append(patterns, prefix+l.cfg.Names.RedisPattern(p))
	}
	for ctx.Err() == nil {
		if l.Up() && isRefusal(readEvents(ctx, l, prefix, patterns)) {
			l.log.Debug("redis refuses keyspace events; applications that add to streams must publish a nudge")
			return
		}
		sleep(ctx, eventRetry)
	}
}

// readEvents delivers events until the connection breaks or ctx ends.
func readEvents(ctx context.Context, l *Link, prefix string, patterns []string) error {
	call := context.WithoutCancel(ctx) // a deadline could expire inside a reply
	sub := l.commands.PSubscribe(call, patterns...)
	var closer sync.WaitGroup
	defer closer.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	closer.Go(func() {
		<-ctx.Done()
		_ = sub.Close()
	})
	for {
		reply, err := receive(call, sub)
		if err != nil {
			return err
		}
		m, ok := reply.(*redis.Message)
		if !ok || !slices.Contains(streamEvents, m.Payload) {
			continue
		}
		name, ok := strings.CutPrefix(m.Channel, prefix)
		if !ok {
			continue
		}
		if channel, ok := l.cfg.Names.Channel([]byte(name)); ok {
			l.nudgeSink.Event(channel)
		}
	}
}
