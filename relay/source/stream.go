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

// Nudged is what a [Sink] is, beside that, where there are durable channels. Its methods may be called concurrently.
type Nudged interface {
	// Nudge says that somebody published to a durable channel, so that its stream may have something new. loaded says that
	// what was published was not empty. channel is without the channel prefix, and valid during the call only.
	Nudge(channel []byte, loaded bool)
	// Event says that Redis tells of a change of a durable channel's stream. channel is as for Nudge.
	Event(channel []byte)
}

// streams implements [relay.Streams].
//
// What follows an entry is read by one XRANGE from that entry on: if it comes first, there is nothing more to know. Only
// where it does not, the same is asked again together with what Redis knows of the key, in one MULTI.
type streams struct {
	client func() (redis.UniversalClient, error)
	names  access.Names
	limit  int // bytes of a payload
	length int // entries to which a stream is trimmed when a client adds one; 0: not at all
}

var _ stream.Store = (*streams)(nil)

// Streams returns what reads and writes the streams of durable channels. Until the link is up, and while it is down, its
// errors wrap [ErrUnavailable].
func (l *Link) Streams() stream.Store {
	return &streams{client: l.upClient, names: l.cfg.Names, limit: l.cfg.MaxPayload, length: l.cfg.StreamLength}
}

// NewStreams returns what reads and writes streams by a client of one's own. Of cfg it takes the names and the limits.
func NewStreams(client redis.UniversalClient, cfg Config) stream.Store {
	limit := cfg.MaxPayload
	if limit == 0 {
		limit = DefaultMaxPayload
	}
	return &streams{
		client: func() (redis.UniversalClient, error) { return client, nil },
		names:  cfg.Names, limit: limit, length: cfg.StreamLength,
	}
}

func (l *Link) upClient() (redis.UniversalClient, error) {
	if !l.Up() {
		return nil, ErrUnavailable
	}
	return l.commands, nil
}

// Read implements [relay.Streams].
func (s *streams) Read(ctx context.Context, channel string, from stream.ID, limit int) (page stream.Page, err error) {
	key := s.names.Redis(channel)
	limit++ // the entry itself
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

// State implements [relay.Streams].
func (s *streams) State(ctx context.Context, channel string) (state stream.State, err error) {
	key := s.names.Redis(channel)
	err = s.do(ctx, key, func(node redis.UniversalClient) (err error) {
		state, err = s.state(ctx, node, key, func(redis.Pipeliner) {})
		return err
	})
	return state, err
}

// state asks what Redis knows of the key, in one MULTI with what and adds, of which no command may fail.
func (s *streams) state(ctx context.Context, node redis.UniversalClient, key string, and func(redis.Pipeliner)) (stream.State, error) {
	var tail, info *redis.Cmd
	cmds, err := node.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		and(tx)
		tail = tx.Do(ctx, "XREVRANGE", key, "+", "-", "COUNT", 1)
		info = tx.Do(ctx, "XINFO", "STREAM", key)
		return nil
	})
	if err := info.Err(); err != nil && tail.Err() == nil && strings.Contains(err.Error(), "no such key") {
		return stream.State{Added: -1}, nil // what comes before XINFO did not fail, then
	}
	if err != nil {
		return stream.State{}, withReason(err, cmds)
	}
	last, err := s.page(tail.Val(), 1)
	if err != nil {
		return stream.State{}, err
	}
	state, err := readInfo(info.Val())
	if len(last.Entries) > 0 {
		state.Tail = last.Entries[0].Cursor
	}
	return state, err
}

// Behind implements [relay.Streams].
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
			behind[i] = err != nil || len(entries) > 0 // what cannot be read is found out by reading it
		}
	}
	return behind, nil
}

// Append implements [relay.Streams]: XADD, and a PUBLISH that carries nothing, in one MULTI. The stream is trimmed with
// `MAXLEN ~`, so that clients cannot fill Redis.
func (s *streams) Append(ctx context.Context, channel string, payload []byte) (id stream.ID, err error) {
	if s.names.Reserved(channel) {
		return id, ErrReserved
	}
	key := s.names.Redis(channel)
	xadd := []any{"XADD", key}
	if s.length > 0 {
		xadd = append(xadd, "MAXLEN", "~", s.length)
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

// do runs f on the master that has the key, and makes its error one that [relay.Streams] promises. On a Cluster that has
// moved the key meanwhile, f runs again: the node that says so has done nothing.
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
		if err == nil || attempt == moveTries || !isMoved(err) {
			return streamError(err)
		}
		cluster.ReloadState(ctx) // it does so beside us
		select {
		case <-ctx.Done():
			return streamError(err)
		case <-time.After(moveWait << attempt):
		}
	}
}

// A key that has moved is looked for again so often, after this time first, and twice as long each time.
const (
	moveTries = 4
	moveWait  = 20 * time.Millisecond
)

// isMoved reports whether a node of a Cluster did nothing, because it has not got the key: a transaction says only that
// one of its commands could not be queued.
func isMoved(err error) bool {
	_, moved := redis.IsMovedError(err)
	return moved || strings.HasPrefix(err.Error(), "EXECABORT")
}

// withReason adds to the error of a transaction why one of its commands was not queued, which it does not say.
func withReason(err error, cmds []redis.Cmder) error {
	for _, cmd := range cmds {
		if why := cmd.Err(); why != nil && why.Error() != err.Error() && strings.HasPrefix(err.Error(), "EXECABORT") {
			return fmt.Errorf("%w (%w)", err, why)
		}
	}
	return err
}

func streamError(err error) error {
	switch {
	case err == nil:
		return nil
	case isRefusal(err), errors.Is(err, errStreamReply):
		return fmt.Errorf("%w: %w", stream.ErrNoStream, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
