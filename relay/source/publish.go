package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/stream"
)

// Errors of [Link.Publish].
var (
	// ErrUnavailable reports that Redis cannot be reached or did not answer in
	// time. The message may have been delivered.
	ErrUnavailable = errors.New("redis is unavailable")
	// ErrRefused reports that Redis answered with an error. The message was not
	// delivered.
	ErrRefused = errors.New("redis refused the command")
	// ErrReserved reports that the channel's name is reserved, so that clients
	// cannot publish to it.
	ErrReserved = errors.New("the channel is reserved")
)

// Publish sends one message to a channel, given without the channel prefix. It
// returns the number of subscribers that Redis delivered it to; in a cluster,
// where that number is unknown, it is 1 or more. It waits for Redis's answer
// for 1 s at most and never sends a message twice.
//
// The error wraps one of ErrUnavailable, ErrRefused and ErrReserved. With
// ErrUnavailable the message may have been delivered all the same, unless the
// link was down when Publish was called. If one call begins after another has
// returned, their messages keep that order.
func (l *Link) Publish(ctx context.Context, channel string, payload []byte) (receivers int64, err error) {
	if l.cfg.Names.Reserved(channel) {
		return 0, ErrReserved
	}
	if !l.Up() {
		return 0, ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	receivers, err = l.publishOnce(ctx, l.cfg.Names.Redis(channel), payload)
	if err == nil {
		return receivers, nil
	}
	err = l.cfg.Server.shown(err)
	l.reporter.clientPublishFailed(err)
	if isRefusal(err) {
		return 0, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// publishOnce sends one PUBLISH. In a cluster it goes to the master of the
// channel's slot: any node would do, but go-redis uses a different one each
// time, which could swap two messages of one client.
func (l *Link) publishOnce(ctx context.Context, name string, payload any) (int64, error) {
	if l.cfg.Server.Mode != Cluster {
		return l.commands.Publish(ctx, name, payload).Result()
	}
	cluster, ok := l.commands.(router)
	if !ok {
		return 0, errNoRouter
	}
	node, err := cluster.MasterForKey(ctx, name)
	if err != nil {
		return 0, err
	}
	receivers, err := node.Publish(ctx, name, payload).Result()
	if err != nil {
		cluster.ReloadState(ctx)
	}
	return max(1, receivers), err // the node counts only its own subscribers
}

// CatchUp returns nil when everything that Redis had published to this link
// before the call was delivered to the sink. It returns an error that wraps
// ErrUnavailable if no epoch is running, or if the epoch ends while it waits;
// in the latter case the sink has been notified before. It returns ctx's error
// if ctx ends first.
//
// CatchUp sends a PING over the link and waits for the answer, which arrives
// after everything that Redis had to send. However many callers wait at once,
// one PING is under way at a time; later callers wait for the next one, because
// an answer says nothing about messages that were published after the PING was
// sent. In a cluster it covers the messages that the link's node had sent, not
// those on their way to that node from other nodes.
//
// CatchUp may be called concurrently, but neither from within a method of the
// sink nor with a lock held that one of these methods acquires.
func (l *Link) CatchUp(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	round, err := l.barrier.join()
	if err != nil {
		return err
	}
	select {
	case <-round.writable:
		l.barrier.write(round)
	case <-round.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-round.done:
		return round.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Streams returns access to the streams of durable channels. While the link is
// down, its errors wrap [ErrUnavailable].
func (l *Link) Streams() stream.Store {
	client := func() (redis.UniversalClient, error) {
		if !l.Up() {
			return nil, ErrUnavailable
		}
		return l.commands, nil
	}
	return &streams{
		client: client, server: l.cfg.Server, names: l.cfg.Names, maxPayload: l.cfg.MaxPayload, maxLength: l.cfg.StreamLength,
		appendFailed: l.reporter.clientAppendFailed,
	}
}
