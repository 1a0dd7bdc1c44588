package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/stream"
)

// streams implements [stream.Store].
//
// It reads the entries after a known one with an XRANGE that starts at the
// known entry itself: if that entry is the first in the answer, no entry after
// it is missing. Otherwise it repeats the XRANGE, followed by an XINFO on the
// same connection. They are not in a MULTI, because Redis 7.0 refuses all
// commands in one while it uses more memory than maxmemory allows.
type streams struct {
	client     func() (redis.UniversalClient, error)
	names      access.Names
	maxPayload int // bytes
	maxLength  int // approximate number of entries to which a stream is trimmed when a client adds one; 0: no trimming

	appendFailed func(error) // is called for each entry that cannot be added
}

var _ stream.Store = (*streams)(nil)

// NewStreams returns access to streams through the given client. It uses only
// the names and the limits of cfg.
func NewStreams(client redis.UniversalClient, cfg Config) stream.Store {
	maxPayload := cfg.MaxPayload
	if maxPayload == 0 {
		maxPayload = DefaultMaxPayload
	}
	return &streams{
		client: func() (redis.UniversalClient, error) { return client, nil },
		names:  cfg.Names, maxPayload: maxPayload, maxLength: cfg.StreamLength,
		appendFailed: func(error) {},
	}
}

// Read implements [stream.Store].
func (s *streams) Read(
	ctx context.Context, channel string, from stream.ID, limit int,
) (page stream.Page, err error) {
	key := s.names.Redis(channel)
	limit++ // the known entry itself
	xrange := []any{"XRANGE", key, from.String(), "+", "COUNT", limit}
	err = s.do(ctx, key, func(node redis.UniversalClient) error {
		reply, err := node.Do(ctx, xrange...).Result()
		if err != nil {
			return err
		}
		if page, err = s.page(reply, limit); err != nil || page.BeginsAt(from) {
			return err
		}
		page, err = s.readWithState(ctx, node, key, xrange, limit)
		if page.BeginsAt(from) {
			page.State = nil
		}
		return err
	})
	return page, err
}

// readWithState sends xrange and then reads the state of the stream, both on
// one connection to node.
func (s *streams) readWithState(
	ctx context.Context, node redis.UniversalClient, key string, xrange []any, limit int,
) (stream.Page, error) {
	var entries *redis.Cmd
	info := newInfo(ctx, key)
	_, err := node.Pipelined(ctx, func(p redis.Pipeliner) error {
		entries = p.Do(ctx, xrange...)
		return p.Process(ctx, info)
	})
	if err != nil && !isNoKey(err) {
		return stream.Page{}, err
	}
	page, err := s.page(entries.Val(), limit)
	if err != nil {
		return stream.Page{}, err
	}
	state, err := s.state(ctx, node, key, info)
	page.State = &state
	return page, err
}

// State implements [stream.Store].
func (s *streams) State(ctx context.Context, channel string) (state stream.State, err error) {
	key := s.names.Redis(channel)
	err = s.do(ctx, key, func(node redis.UniversalClient) (err error) {
		info := newInfo(ctx, key)
		_ = node.Process(ctx, info) // info has the error
		state, err = s.state(ctx, node, key, info)
		return err
	})
	return state, err
}

// Behind implements [stream.Store].
func (s *streams) Behind(ctx context.Context, places []stream.Place) ([]bool, error) {
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	replies := make([]*redis.Cmd, len(places))
	_, err = client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, place := range places {
			if next, ok := place.ID.Next(); ok {
				replies[i] = p.Do(ctx, "XRANGE", s.names.Redis(place.Channel), next.String(), "+", "COUNT", 1)
			}
		}
		return nil
	})
	if err != nil && !isRefusal(err) {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	behind := make([]bool, len(places))
	for i, reply := range replies {
		if reply != nil {
			entries, err := reply.Slice()
			behind[i] = err != nil || len(entries) > 0 // if it cannot be read, a Read reports the error
		}
	}
	return behind, nil
}

// Append implements [stream.Store] with an XADD and an empty PUBLISH, which
// Redis executes in this order. They are not in a MULTI: go-redis does not read
// all replies if the user lacks the right to it, although XADD was executed. A
// PUBLISH after an XADD that failed only makes the relays read the stream.
//
// It trims the stream with `MAXLEN ~`, so that clients cannot fill Redis.
func (s *streams) Append(ctx context.Context, channel string, payload []byte) (id stream.ID, err error) {
	if s.names.Reserved(channel) {
		return id, ErrReserved
	}
	key := s.names.Redis(channel)
	xadd := []any{"XADD", key}
	if s.maxLength > 0 {
		xadd = append(xadd, "MAXLEN", "~", s.maxLength)
	}
	xadd = append(xadd, "*", stream.PayloadField, payload)
	err = s.do(ctx, key, func(node redis.UniversalClient) error {
		var added *redis.Cmd
		_, _ = node.Pipelined(ctx, func(p redis.Pipeliner) error { // without the PUBLISH, the entry is found later
			added = p.Do(ctx, xadd...)
			p.Publish(ctx, key, "")
			return nil
		})
		text, err := added.Text()
		if err != nil {
			return err
		}
		ok := false
		if id, ok = stream.ParseID(text); !ok {
			return errStreamReply
		}
		return nil
	})
	if err != nil {
		s.appendFailed(err)
	}
	return id, err
}

// If the key of a stream has moved to another node, the command is retried up
// to moveAttempts times, first after moveWait and then after twice as long each
// time.
const (
	moveAttempts = 4
	moveWait     = 20 * time.Millisecond
)

// do calls f with a client for the master that has the key, and returns one of
// the errors that [stream.Store] promises. If a cluster has moved the key, do
// calls f again: the node that reports the move has not executed the command.
func (s *streams) do(ctx context.Context, key string, f func(redis.UniversalClient) error) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cluster, clustered := client.(router)
	if !clustered {
		return streamError(f(client))
	}
	for attempt := 0; ; attempt++ {
		master, err := cluster.MasterForKey(ctx, key)
		if err != nil {
			return streamError(err)
		}
		err = f(master)
		if err == nil || attempt == moveAttempts || !isMoved(err) {
			return streamError(err)
		}
		cluster.ReloadState(ctx) // asynchronous
		select {
		case <-ctx.Done():
			return streamError(err)
		case <-time.After(moveWait << attempt):
		}
	}
}

// isMoved reports whether a node of a cluster executed nothing because the key
// is at another node, or is being moved to one.
func isMoved(err error) bool {
	_, moved := redis.IsMovedError(err)
	_, moving := redis.IsAskError(err)
	return moved || moving
}

// streamError wraps an error in one of those that [stream.Store] promises.
func streamError(err error) error {
	switch {
	case err == nil:
		return nil
	case isRefusal(err), errors.Is(err, errStreamReply):
		return fmt.Errorf("%w: %w", stream.ErrNoStream, err)
	}
	if c, ok := conditionOf(replyOf(err)); ok {
		return fmt.Errorf("%w: %s: %s (%w)", ErrUnavailable, c.problem, c.do, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
