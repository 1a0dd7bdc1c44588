package source

import (
	"context"
	"errors"
	"fmt"
)

// Errors of [Link.Publish].
var (
	// ErrUnavailable says that Redis is away or did not answer in time. The message may have been delivered.
	ErrUnavailable = errors.New("redis is unavailable")
	// ErrRefused says that Redis answered with an error. The message was not delivered.
	ErrRefused = errors.New("redis refused the message")
	// ErrReserved says that nobody may publish to this name.
	ErrReserved = errors.New("the channel is reserved")
)

// Publish sends one message to a channel, given without the channel prefix, and returns how many subscribers Redis
// passed it to; in a cluster, where nobody knows, 1 or more. It waits for Redis's answer, for 1 s at most, and never sends a message twice. The error wraps one of
// ErrUnavailable, ErrRefused and ErrReserved. With ErrUnavailable the message may have been delivered all the same,
// unless the link was down when Publish was called. Order holds between calls of which one begins when the other
// has returned.
func (l *Link) Publish(ctx context.Context, channel string, payload []byte) (receivers int64, err error) {
	if l.cfg.Names.Reserved(channel) {
		return 0, ErrReserved
	}
	if !l.Up() {
		return 0, ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	receivers, err = l.send(ctx, l.cfg.Names.Redis(channel), payload)
	switch {
	case err == nil:
		return receivers, nil
	case isRefusal(err):
		if isDenied(err.Error()) {
			l.warned.clientPublish.Do(func() { l.warnClientPublish(err) })
		}
		return 0, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
}
