package stream

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"math"
	"strconv"
	"strings"
)

// A StreamID is the id of an entry of a Redis stream. Zero stands before all entries.
type ID struct{ Ms, Seq uint64 }

// ParseStreamID reads an id as Redis writes it, such as 1526919030474-55.
func ParseID(text string) (id ID, ok bool) {
	ms, seq, ok := strings.Cut(text, "-")
	if !ok {
		return id, false
	}
	var err1, err2 error
	id.Ms, err1 = strconv.ParseUint(ms, 10, 64)
	id.Seq, err2 = strconv.ParseUint(seq, 10, 64)
	if err1 != nil || err2 != nil {
		return ID{}, false
	}
	return id, true
}

// String returns the id as Redis writes it.
func (id ID) String() string {
	b := strconv.AppendUint(make([]byte, 0, 24), id.Ms, 10)
	return string(strconv.AppendUint(append(b, '-'), id.Seq, 10))
}

// IsZero reports whether the id stands before all entries.
func (id ID) IsZero() bool { return id == ID{} }

// Compare is negative if id comes before other, and positive if it comes after it.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Ms, other.Ms), cmp.Compare(id.Seq, other.Seq))
}

// Next returns the lowest id behind id, and false where there is none.
func (id ID) Next() (ID, bool) {
	switch {
	case id.Seq < math.MaxUint64:
		id.Seq++
	case id.Ms < math.MaxUint64:
		id = ID{Ms: id.Ms + 1}
	default:
		return id, false
	}
	return id, true
}

// An Entry is one message of a durable channel.
type Entry struct {
	Cursor
	Payload  []byte // nil if TooLarge
	TooLarge bool   // the payload is larger than the relay carries
}

// PayloadField is the field of an entry that holds its payload.
const PayloadField = "data"

// NewEntry returns an entry as the relay knows it: its payload is the field [PayloadField], or, where it has none, a JSON
// object of its fields in their order, in which bytes that are not UTF-8 become U+FFFD. fields are names and values in
// turn. A payload of more than limit bytes is left out.
func NewEntry(id ID, fields []string, limit int) Entry {
	e := Entry{Cursor: Cursor{ID: id, Check: checkFields(fields)}}
	payload := payloadOf(fields)
	if len(payload) > limit {
		e.TooLarge = true
		return e
	}
	e.Payload = payload
	return e
}

// checkFields is CRC-32C over each name and value behind its length, 8 bytes in network order.
func checkFields(fields []string) (check uint32) {
	table := crc32.MakeTable(crc32.Castagnoli)
	var text []byte
	for _, field := range fields {
		text = append(binary.BigEndian.AppendUint64(text[:0], uint64(len(field))), field...)
		check = crc32.Update(check, table, text)
	}
	return check
}

func payloadOf(fields []string) []byte {
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == PayloadField {
			return []byte(fields[i+1])
		}
	}
	object := []byte{'{'}
	for i := 0; i+1 < len(fields); i += 2 {
		if i > 0 {
			object = append(object, ',')
		}
		object = appendJSON(append(appendJSON(object, fields[i]), ':'), fields[i+1])
	}
	return append(object, '}')
}

func appendJSON(b []byte, text string) []byte {
	var quoted bytes.Buffer
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		panic(err) // strings are always encoded
	}
	return append(b, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
}

// A StreamPage is what a stream holds from some id on, read in one step.
type Page struct {
	Entries []Entry // the first with that id or a later one, in order
	More    bool    // there may be entries behind these

	// State is the stream's at the same moment. It is nil if the first of Entries has the very id that was asked for, which
	// says all that there is to know.
	State *State
}

// A StreamState is what Redis knows of a stream beside its entries.
type State struct {
	Exists bool
	Last   ID     // the last id that was ever given: last-generated-id
	Tail   Cursor // the last entry; zero if there is none
	Length int64
	Added  int64 // how many entries were ever added, -1 where the server does not count them (before Redis 7.0)
}

// cursor is where a client is that has missed nothing until now.
func (s *State) cursor() Cursor {
	if s.Exists && s.Tail.ID.IsZero() {
		return Cursor{ID: s.Last}
	}
	return s.Tail
}

// Streams reads and writes the streams of durable channels, on the server that alone takes writes to them: a replica that
// lags behind would look like a stream that was set back. Channels are named without prefix. Its methods are called
// concurrently and wait for Redis, each for about a second at most. Errors wrap [ErrNoStream] where there is no use in
// trying again soon.
type Store interface {
	// Read returns the first limit+1 entries with the id from and later ones.
	Read(ctx context.Context, channel string, from ID, limit int) (Page, error)
	// State returns the state alone.
	State(ctx context.Context, channel string) (State, error)
	// Behind reports which of the places have entries behind them. It asks for all at once.
	Behind(ctx context.Context, places []Place) ([]bool, error)
	// Append adds an entry whose only field is this payload and says so to all relays. An entry is never added twice; it may have been
	// added though there is an error.
	Append(ctx context.Context, channel string, payload []byte) (ID, error)
}

// A StreamPlace is an id in a channel's stream.
type Place struct {
	Channel string
	ID      ID
}

// ErrNoStream says that Redis refuses to read or write a channel as a stream: its key is something else, or the relay has
// no right to it.
var ErrNoStream = errors.New("redis refuses this stream")
