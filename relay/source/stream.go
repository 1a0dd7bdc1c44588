package source

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	server     Server // for the nodes of a cluster, and the passwords
	names      access.Names
	maxPayload int // bytes
	maxLength  int // approximate number of entries to which a stream is trimmed when a client adds one; 0: no trimming

	appendFailed func(error) // is called for each entry that cannot be added
}

var _ stream.Store = (*streams)(nil)

// NewStreams returns access to streams through the given client. It uses only
// the server, the names and the limits of cfg.
func NewStreams(client redis.UniversalClient, cfg Config) stream.Store {
	return newStreams(client, cfg)
}

func newStreams(client redis.UniversalClient, cfg Config) *streams {
	maxPayload := cfg.MaxPayload
	if maxPayload == 0 {
		maxPayload = DefaultMaxPayload
	}
	return &streams{
		client: func() (redis.UniversalClient, error) { return client, nil }, server: cfg.Server,
		names: cfg.Names, maxPayload: maxPayload, maxLength: cfg.StreamLength,
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
	err = s.do(ctx, key, func(node streamNode) error {
		entries := redis.NewCmd(ctx, xrange...)
		err := node.run(ctx, entries)
		if err != nil {
			return err
		}
		if page, err = s.page(entries.Val(), limit); err != nil || page.BeginsAt(from) {
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
	ctx context.Context, node streamNode, key string, xrange []any, limit int,
) (stream.Page, error) {
	entries, info := redis.NewCmd(ctx, xrange...), newInfo(ctx, key)
	err := node.run(ctx, entries, info)
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

// Newest implements [stream.Store].
func (s *streams) Newest(ctx context.Context, channel string, n int) (entries []stream.Entry, err error) {
	key := s.names.Redis(channel)
	err = s.do(ctx, key, func(node streamNode) error {
		reply := redis.NewCmd(ctx, "XREVRANGE", key, "+", "-", "COUNT", n)
		if err := node.run(ctx, reply); err != nil {
			return err
		}
		page, err := s.page(reply.Val(), n)
		entries = page.Entries
		return err
	})
	slices.Reverse(entries)
	return entries, err
}

// State implements [stream.Store].
func (s *streams) State(ctx context.Context, channel string) (state stream.State, err error) {
	key := s.names.Redis(channel)
	err = s.do(ctx, key, func(node streamNode) (err error) {
		info := newInfo(ctx, key)
		if err := node.run(ctx, info); err != nil && !isNoKey(err) {
			return err
		}
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
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, s.server.shown(err))
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
	err = s.do(ctx, key, func(node streamNode) error {
		added := redis.NewCmd(ctx, xadd...)
		_ = node.run(ctx, added, redis.NewCmd(ctx, "PUBLISH", key, "")) // without the PUBLISH, the entry is found later
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

// tryAppend checks the right to add an entry with a stream that does not exist,
// to which NOMKSTREAM adds nothing.
func (s *streams) tryAppend(ctx context.Context, channel string) error {
	key := s.names.Redis(channel)
	return s.do(ctx, key, func(node streamNode) error {
		err := node.run(ctx, redis.NewCmd(ctx, "XADD", key, "NOMKSTREAM", "*", stream.PayloadField, ""))
		if errors.Is(err, redis.Nil) {
			return nil
		}
		return err
	})
}

// do calls f with the server, or with the master of a cluster that has the key,
// and returns one of the errors that [stream.Store] promises.
func (s *streams) do(ctx context.Context, key string, f func(streamNode) error) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	if cluster, ok := client.(router); ok {
		return s.server.streamError(s.runAtMaster(ctx, cluster, key, f))
	}
	return s.server.streamError(f(streamNode{UniversalClient: client}))
}

// A streamFailure implements [stream.Advised].
type streamFailure struct{ err error }

func (e *streamFailure) Error() string { return e.err.Error() }
func (e *streamFailure) Unwrap() error { return e.err }
func (e *streamFailure) Advice() string {
	return adviseStreams(e.err, "grant %R~ for the streams of SIDECAST_DURABLE_CHANNELS, and +xrange +xrevrange +xinfo")
}

// streamError wraps an error in one of those that [stream.Store] promises.
func (s Server) streamError(err error) error {
	if err == nil {
		return nil
	}
	err = &streamFailure{s.shown(err)}
	switch {
	case isRefusal(err), errors.Is(err, errStreamReply):
		return fmt.Errorf("%w: %w", stream.ErrNoStream, err)
	}
	if c, ok := conditionOf(replyOf(err)); ok {
		return fmt.Errorf("%w: %s: %s (%w)", ErrUnavailable, c.problem, c.do, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
