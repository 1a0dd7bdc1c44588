package stream

import (
	"context"
	"errors"
)

// A Store reads and writes the streams of durable channels. Channels are named
// without the channel prefix.
//
// A Store must use the server that accepts the writes: a replica that lags
// would look like a stream that was restored from an older state. All methods
// may be called concurrently. They wait for Redis, each for about a second at
// most. An error wraps [ErrNoStream] if retrying soon cannot help.
type Store interface {
	// Read returns the first limit+1 entries whose id is from or higher.
	Read(ctx context.Context, channel string, from ID, limit int) (Page, error)
	// Newest returns the n newest entries, or all if there are fewer, in order.
	Newest(ctx context.Context, channel string, n int) ([]Entry, error)
	// State returns the state of the stream at one moment.
	State(ctx context.Context, channel string) (State, error)
	// Behind reports for each place whether the stream has entries after it. It
	// asks Redis about all places in one request.
	Behind(ctx context.Context, places []Place) ([]bool, error)
	// Append adds an entry whose only field is payload, and publishes the nudge
	// that announces it to all relays. It never adds an entry twice. If it
	// returns an error, the entry may have been added nevertheless.
	Append(ctx context.Context, channel string, payload []byte) (ID, error)
}

// ErrNoStream is returned if Redis refuses to read or write a channel as a
// stream: its key has another type, or the relay has no permission.
var ErrNoStream = errors.New("redis refuses this stream")

// Advised is an error of a [Store] that tells the operator what to do about it.
type Advised interface {
	error
	Advice() string
}

// A Place is an id in a channel's stream.
type Place struct {
	Channel string
	ID      ID
}

// A Page is a part of a stream from some id on.
type Page struct {
	Entries []Entry // in order, read in one atomic step; the first has the requested id or a higher one
	More    bool    // the stream may have more entries after these

	// State is the state of the stream at one moment after Entries were read
	// from the same server. Between the two, entries may have been added and
	// removed, and the stream deleted and created again. So the stream may have
	// entries before State.Tail that are neither in Entries nor reported by
	// More: only a gap may move a place to the tail. State is nil if the first
	// of Entries has exactly the requested id: then nothing else is needed.
	State *State
}

// BeginsAt reports whether the first entry of the page has this id.
func (p *Page) BeginsAt(id ID) bool { return len(p.Entries) > 0 && p.Entries[0].ID == id }

// A State is what Redis knows about a stream in addition to its entries.
type State struct {
	Exists bool
	Last   ID     // the highest id ever added: last-generated-id
	First  Cursor // the first entry; zero if the stream is empty, and maybe if Added is -1
	Tail   Cursor // the last entry; zero if the stream is empty
	Length int64
	Added  int64 // number of entries ever added; -1 if the server does not count them (before Redis 7.0)
}

// cursor returns the place of a client that has missed nothing so far.
func (s *State) cursor() Cursor {
	if s.Exists && s.Tail.ID.IsZero() {
		return Cursor{ID: s.Last}
	}
	return s.Tail
}
