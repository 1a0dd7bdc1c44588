package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/source/resp"
)

// maxServiceMessage is the largest message on a service's channel, in bytes.
// Larger ones are dropped.
const maxServiceMessage = 1 << 20

const (
	// prepareTimeout bounds how long the services may delay an epoch. The
	// watchdog ends the connection if it is not ready soon after that.
	prepareTimeout = 5 * time.Second
	// prepareRetry is the pause before a service that failed tries again.
	prepareRetry = 100 * time.Millisecond
)

// A Service is a part of the relay that uses Redis for something other than the
// messages of channels. The functions are called on the link's goroutine, none
// of them concurrently, and may be nil.
type Service struct {
	// Channel is the whole Redis name of a channel of the relay's own, whose
	// name is reserved, or empty. The link subscribes to it by this name.
	Channel string
	// Receive receives the messages on the channel, in their place among all
	// messages, but none of more than 1 MiB. It must not wait. payload is valid
	// during the call only.
	Receive func(payload []byte)
	// Prepare is called before an epoch begins, so that its first message is
	// delivered only after Prepare has returned. ctx ends after 5 s at most. An
	// error ends the connection, and the link tries again.
	Prepare func(ctx context.Context, client redis.UniversalClient) error
	// Online reports that an epoch begins, before Sink.Online. heard says
	// whether Redis has let the link subscribe to the channel.
	Online func(heard bool)
	// Offline reports that the epoch is over, after Sink.Offline.
	Offline func()
}

// prepare calls Prepare of all services before an epoch begins. Called on the
// link's goroutine.
func (l *Link) prepare() error {
	ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
	defer cancel()
	for _, s := range l.cfg.Services {
		if s.Prepare == nil {
			continue
		}
		for {
			err := s.Prepare(ctx, l.commands)
			if err == nil {
				break
			}
			if ctx.Err() != nil || isRefusal(err) || l.isStopped() {
				if reply := replyOf(err); reply != "" {
					err = &replyError{reply} // go-redis would keep the connection because of its own type
				}
				return fmt.Errorf("preparing to receive: %w", err)
			}
			sleep(ctx, prepareRetry) // a connection of the pool may lead to the server of the last epoch
		}
	}
	return nil
}

// notifyOnline notifies the services that an epoch begins on a connection.
func (l *Link) notifyOnline(c *pubsubConn) {
	for i, s := range l.cfg.Services {
		if s.Online != nil {
			s.Online(c.subs.hears(i))
		}
	}
}

func (l *Link) notifyOffline() {
	for _, s := range l.cfg.Services {
		if s.Offline != nil {
			s.Offline()
		}
	}
}

// serviceChannels returns the channel of each service.
func (l *Link) serviceChannels() []string {
	list := make([]string, len(l.cfg.Services))
	for i, s := range l.cfg.Services {
		list[i] = s.Channel
	}
	return list
}

// service returns the service with the given channel, or nil.
func (l *Link) service(channel []byte) *Service {
	for i := range l.cfg.Services {
		if s := &l.cfg.Services[i]; s.Channel != "" && s.Channel == string(channel) {
			return s
		}
	}
	return nil
}

// subscribeServices returns the commands that subscribe to the channels of the
// services: one for each, so that Redis answers for each. go-redis does not
// know these subscriptions. In a cluster, it would choose a node by one of
// them.
func (l *Link) subscribeServices() (commands []byte) {
	for _, s := range l.cfg.Services {
		if s.Channel != "" {
			commands = fmt.Appendf(commands, "*2\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n", len(s.Channel), s.Channel)
		}
	}
	return commands
}

// parseServiceMessage delivers a message to a service. Its payload begins at
// b[at:].
func (c *pubsubConn) parseServiceMessage(s *Service, b []byte, at int) (bool, error) {
	size, next := resp.BulkLen(b, at)
	if next < 0 {
		return incomplete(next)
	}
	if !c.live || size > maxServiceMessage || s.Receive == nil {
		return c.discardValues(at, 1)
	}
	payload, end := resp.Text(b, size, next)
	if end < 0 {
		return incomplete(end)
	}
	c.r += end
	s.Receive(payload)
	return true, nil
}

// Do calls f with a client for commands, unless the link is down. ctx gets a
// deadline of a second if it has none. The client never retries. Errors are
// without secrets and wrap [ErrUnavailable], or [ErrRefused] if Redis has
// answered with an error. Do may be called concurrently, but neither from
// within a method of the sink or a service nor with a lock held that one of
// these methods acquires.
func (l *Link) Do(ctx context.Context, f func(context.Context, redis.UniversalClient) error) error {
	if !l.Up() {
		return ErrUnavailable
	}
	if _, limited := ctx.Deadline(); !limited {
		limited, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		ctx = limited
	}
	err := f(ctx, l.commands)
	switch {
	case err == nil, errors.Is(err, redis.Nil):
		return nil
	case isRefusal(err):
		return fmt.Errorf("%w: %w", ErrRefused, l.cfg.Server.shown(err))
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, l.cfg.Server.shown(err))
}
