package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/stream"
)

// streams implements [stream.Store].
//
// It reads the entries after a known one with an XRANGE that starts at the
// known entry itself: if that entry is the first in the answer, no entry after
// it is missing. Otherwise it repeats the XRANGE in one MULTI with commands
// that read what Redis knows about the key.
type streams struct {
	client     func() (redis.UniversalClient, error)
	names      access.Names
	maxPayload int // bytes
	maxLength  int // approximate number of entries to which a stream is trimmed when a client adds one; 0: no trimming
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
		if page, err = s.page(reply, limit); err != nil || len(page.Entries) > 0 && page.Entries[0].ID == from {
			return err
		}
		var again *redis.Cmd
		state, err := s.state(ctx, node, key, func(tx redis.Pipeliner) { again = tx.Do(ctx, xrange...) })
		if err != nil {
			return err
		}
		if page, err = s.page(again.Val(), limit); err != nil {
			return err
		}
		if len(page.Entries) == 0 || page.Entries[0].ID != from {
			page.State = &state
		}
		return nil
	})
	return page, err
}

// State implements [stream.Store].
func (s *streams) State(ctx context.Context, channel string) (state stream.State, err error) {
	key := s.names.Redis(channel)
	err = s.do(ctx, key, func(node redis.UniversalClient) (err error) {
		state, err = s.state(ctx, node, key, func(redis.Pipeliner) {})
		return err
	})
	return state, err
}

// state reads what Redis knows about the key, in one MULTI with the commands
// that add adds, all of which must succeed.
func (s *streams) state(
	ctx context.Context, node redis.UniversalClient, key string, add func(redis.Pipeliner),
) (stream.State, error) {
	var tail *redis.Cmd
	info := redis.NewMapStringInterfaceCmd(ctx, "XINFO", "STREAM", key)
	cmds, err := node.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		add(tx)
		tail = tx.Do(ctx, "XREVRANGE", key, "+", "-", "COUNT", 1)
		return tx.Process(ctx, info)
	})
	if err := info.Err(); err != nil && tail.Err() == nil && strings.Contains(err.Error(), "no such key") {
		return stream.State{Added: -1}, nil // the commands before XINFO succeeded
	}
	if err != nil {
		return stream.State{}, withReason(err, cmds)
	}
	last, err := s.page(tail.Val(), 1)
	if err != nil {
		return stream.State{}, err
	}
	state, err := parseInfo(info.Val())
	if len(last.Entries) > 0 {
		state.Tail = last.Entries[0].Cursor
	}
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

// Append implements [stream.Store] with an XADD and an empty PUBLISH in one
// MULTI. It trims the stream with `MAXLEN ~`, so that clients cannot fill
// Redis.
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
		cmds, err := node.TxPipelined(ctx, func(tx redis.Pipeliner) error {
			added = tx.Do(ctx, xadd...)
			tx.Publish(ctx, key, "")
			return nil
		})
		text, _ := added.Val().(string)
		if added.Err() != nil || err != nil && text == "" {
			return withReason(err, cmds)
		}
		ok := false
		if id, ok = stream.ParseID(text); !ok {
			return errStreamReply
		}
		return nil
	})
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

// isMoved reports whether a node of a cluster executed nothing because it does
// not have the key. A transaction only reports that one of its commands could
// not be queued.
func isMoved(err error) bool {
	_, moved := redis.IsMovedError(err)
	return moved || strings.HasPrefix(err.Error(), "EXECABORT")
}

// withReason adds to the error of a transaction why one of its commands was not
// queued, which the error itself does not contain.
func withReason(err error, cmds []redis.Cmder) error {
	if !strings.HasPrefix(err.Error(), "EXECABORT") {
		return err
	}
	for _, cmd := range cmds {
		if reason := cmd.Err(); reason != nil && reason.Error() != err.Error() {
			return fmt.Errorf("%w (%w)", err, reason)
		}
	}
	return err
}

// streamError wraps an error in one of those that [stream.Store] promises.
func streamError(err error) error {
	switch {
	case err == nil:
		return nil
	case isRefusal(err), errors.Is(err, errStreamReply):
		return fmt.Errorf("%w: %w", stream.ErrNoStream, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
