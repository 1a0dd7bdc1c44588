package source

import (
	"context"
	"errors"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/stream"
)

// rightsTick is how often the rights to durable channels are tried until Redis answers.
const rightsTick = 100 * time.Millisecond

// tryStreams says at the start which durable channels Redis does not let the relay read: else only who subscribes to one
// would find out. It asks for streams that nobody has made, once for each pattern.
func (l *Link) tryStreams(ctx context.Context) {
	if l.cfg.Embedded {
		return
	}
	ticker := time.NewTicker(rightsTick)
	defer ticker.Stop()
	streams := l.Streams()
	for left := l.cfg.Durable; len(left) > 0; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !l.Up() {
			continue
		}
		err := tryStream(ctx, streams, left[0])
		if errors.Is(err, ErrUnavailable) {
			continue // and once more
		}
		if errors.Is(err, stream.ErrNoStream) {
			l.warnStream(left[0], err)
		}
		left = left[1:]
	}
}

// tryStream reads a stream that the pattern matches.
func tryStream(ctx context.Context, streams stream.Store, pattern access.Pattern) error {
	channel, unused := example(pattern)
	if !unused && channel != pattern.String() {
		return nil // no name is known that matches
	}
	_, err := streams.Read(ctx, channel, stream.ID{}, 1)
	return err
}

func (l *Link) warnStream(pattern access.Pattern, err error) {
	l.log.Warn("redis does not let the relay read streams, so these durable channels do not work",
		"pattern", pattern.String(), "do", grantStream(l.cfg.Names.RedisPattern(pattern)), "err", l.cfg.Server.redact(err))
}

// grantStream says how to allow reading the streams of a pattern.
func grantStream(pattern string) string {
	return "grant %R~" + pattern + " and +xrange +xrevrange +xinfo +multi +exec"
}
