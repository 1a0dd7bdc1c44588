package source

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/stream"
)

// rightsInterval is the time between attempts to check the rights to durable
// channels, until Redis answers.
const rightsInterval = 100 * time.Millisecond

// checkStreamRights logs at the start which durable channels Redis does not let
// the relay read. Otherwise only clients that subscribe to one would find out.
// It reads, once for each pattern, a stream that does not exist.
func checkStreamRights(ctx context.Context, l *Link) {
	left := l.cfg.Durable
	if l.cfg.Embedded || len(left) == 0 {
		return
	}
	streams := l.Streams()
	every(ctx, rightsInterval, func() bool {
		if !l.Up() {
			return true
		}
		err := tryStream(ctx, streams, left[0])
		if errors.Is(err, ErrUnavailable) {
			return true // try again
		}
		if errors.Is(err, stream.ErrNoStream) {
			l.reporter.streamsDenied(left[0], err)
		}
		left = left[1:]
		return len(left) > 0
	})
}

// tryStream reads a stream that the pattern matches.
func tryStream(ctx context.Context, streams stream.Store, pattern access.Pattern) error {
	channel, unused := exampleName(pattern)
	if !unused && channel != pattern.String() {
		return nil // no matching name is known
	}
	_, err := streams.Read(ctx, channel, stream.ID{}, 1)
	return err
}

// exampleName returns a name that a simple pattern matches, and whether it is
// an unused one.
func exampleName(pattern access.Pattern) (name string, unused bool) {
	if !strings.Contains(pattern.String(), "*") {
		return pattern.String(), false
	}
	name = fmt.Sprintf("sidecast-check-%016x", rand.Uint64())
	return strings.NewReplacer("*", name, "?", "x").Replace(pattern.String()), true
}
