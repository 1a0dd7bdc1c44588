package source

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// eventPause is the time between two attempts to hear keyspace events.
const eventPause = 5 * time.Second

// streamEvents are those that say that a stream may have something new.
var streamEvents = []string{"xadd", "restore", "rename_to", "copy_to"}

var errNudged = errors.New("the sink takes no nudges")

// nudge makes the sink hear of durable channels, where there are any.
func (l *Link) nudge(sink Sink) error {
	if len(l.cfg.Durable) == 0 {
		return nil
	}
	var ok bool
	if l.nudged, ok = sink.(Nudged); !ok {
		return errNudged
	}
	l.filter.durable = l.cfg.Durable
	return nil
}

// hearEvents listens to the keyspace events of durable channels until ctx ends. They come only where the server was told
// to send them, which the relay neither asks nor changes; and each only says earlier what a nudge or a look at the stream
// says as well. So it has a conn of its own, whose loss is no loss, and gives up for good where Redis refuses. In a cluster
// each node tells of its own keys alone, and nothing is heard.
func (l *Link) hearEvents(ctx context.Context) {
	if len(l.cfg.Durable) == 0 || l.cfg.Embedded || l.cfg.Server.Mode == Cluster {
		return
	}
	prefix := "__keyspace@" + strconv.Itoa(l.cfg.Server.DB) + "__:"
	var patterns []string
	for _, p := range l.cfg.Durable {
		patterns = append(patterns, prefix+l.cfg.Names.RedisPattern(p))
	}
	for ctx.Err() == nil {
		if l.Up() && isRefusal(l.readEvents(ctx, prefix, patterns)) {
			l.log.Debug("redis permits no keyspace events: those who add to streams have to publish a nudge")
			return
		}
		timer := time.NewTimer(eventPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// readEvents hands over events until the conn breaks or ctx ends.
func (l *Link) readEvents(ctx context.Context, prefix string, patterns []string) error {
	call := context.WithoutCancel(ctx) // a deadline could fire inside a reply
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
			l.nudged.Event(channel)
		}
	}
}
