package relay_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sidecast/relay/protocol"
)

// The checker knows nothing of the hub. It holds what one client got to what Redis said, in the order in which it said it,
// and to when the client asked for what.

// An entry is one thing that Redis said. Its place in the log counts from 1.
type entry struct {
	kind    entryKind
	channel string
	payload string // of a message: begins with its place in the log
}

type entryKind uint8

const (
	entryMessage entryKind = iota
	entryOversize
	entryOffline
	entryOnline
	entryMissed // a message that was published while the relay did not hear
)

// A life is one client from joining to its end.
type life struct {
	id        string
	after     string            // the life whose memory it has, or empty
	known     map[string]*place // what that was
	perfect   bool              // nothing that it comes back for may be gone
	left      map[string]*place // set by check: where it was at its end
	protocol  protocol.ID
	handshake string // what it gets first
	joinedBy  int    // entries that had begun when it had joined
	commands  []command
	end       ending
	endedBy   int // entries that had begun when it had left
	closed    protocol.CloseCode
	stream    []byte
}

// A command is what the client asked for, and what Redis had said by then: everything up to before had been taken in when
// it asked, nothing after behind had begun when it was answered.
type command struct {
	kind           string // "subscribed", "unsubscribed" or "pong", as it is answered
	channels       []string
	resumed        []bool // subscribed: whether the client said where it was
	before, behind int
}

type ending uint8

const (
	endAlive   ending = iota // to the last: it has to have got everything
	endLeft                  // the connection broke
	endClosed                // the relay closed, behind everything that was queued
	endEvicted               // it was too slow
)

// heard is one frame that a client got.
type heard struct {
	op      byte
	frame   []byte // with its header
	payload []byte

	kind      string // "message" and so on
	cursor    string
	at        string
	recovered bool
	channel   string
	place     int // of a message, in the log
	ref       int
	reason    string
	offline   bool
	closeCode protocol.CloseCode
}

var errCut = errors.New("the last frame is cut")

// frames cuts a stream. An incomplete frame at its end is errCut.
func frames(stream []byte) (list []heard, err error) {
	for len(stream) > 0 {
		size, n := 2, 0
		switch {
		case len(stream) < 2:
			return list, errCut
		case stream[0]&0xf0 != 0x80 || stream[1]&0x80 != 0:
			return list, fmt.Errorf("frame %d begins with % x", len(list), stream[:2])
		case stream[1] < 126:
			n = int(stream[1])
		case len(stream) < 10:
			return list, errCut
		case stream[1] == 126:
			size, n = 4, int(binary.BigEndian.Uint16(stream[2:]))
		default:
			size, n = 10, int(binary.BigEndian.Uint64(stream[2:]))
		}
		if n < 0 || n > 1<<24 {
			return list, fmt.Errorf("frame %d announces %d bytes", len(list), n)
		}
		if len(stream) < size+n {
			return list, errCut
		}
		list = append(list, heard{op: stream[0] & 0x0f, frame: stream[:size+n], payload: stream[size : size+n]})
		stream = stream[size+n:]
	}
	return list, nil
}

// understand reads what a frame says.
func (h *heard) understand(proto protocol.ID) error {
	if h.op == byte(protocol.OpClose) {
		if len(h.payload) < 2 {
			return fmt.Errorf("a close frame of %d bytes", len(h.payload))
		}
		h.kind, h.closeCode = "close", protocol.CloseCode(binary.BigEndian.Uint16(h.payload))
		if reason := string(h.payload[2:]); reason != h.closeCode.Reason() {
			return fmt.Errorf("close %d with the reason %q", h.closeCode, reason)
		}
		return nil
	}
	if h.op == byte(protocol.OpPing) {
		h.kind = "ping"
		return nil
	}
	payload := string(h.payload)
	if proto == protocol.V1ID {
		var f struct {
			Type, Channel, Reason, Cursor, At string
			Ref                               int
			Offline, Recovered                bool
			Data                              *string
			Base64                            *[]byte
		}
		if err := json.Unmarshal(h.payload, &f); err != nil || h.op != byte(protocol.OpText) {
			return fmt.Errorf("a frame of type %x with %.80q: %w", h.op, h.payload, err)
		}
		h.kind, h.channel, h.reason, h.ref, h.offline = f.Type, f.Channel, f.Reason, f.Ref, f.Offline
		h.cursor, h.at, h.recovered = f.Cursor, f.At, f.Recovered
		switch {
		case f.Data != nil:
			payload = *f.Data
		case f.Base64 != nil:
			payload = string(*f.Base64)
		}
	} else {
		h.kind = "message"
	}
	if h.kind != "message" {
		return nil
	}
	number, _, _ := strings.Cut(strings.TrimPrefix(payload, "#"), ":")
	var err error
	h.place, err = strconv.Atoi(number)
	h.payload = []byte(payload)
	return err
}

// check returns what is wrong with a life, or nil.
func check(log []entry, l *life) error {
	l.left = l.known // unless it heard anything
	stream, greeted := strings.CutPrefix(string(l.stream), l.handshake)
	if !greeted {
		if l.end != endAlive && strings.HasPrefix(l.handshake, string(l.stream)) {
			return nil // it ended before
		}
		return fmt.Errorf("the stream begins with %.40q", l.stream)
	}
	list, err := frames([]byte(stream))
	if err != nil && (err != errCut || l.end != endLeft) {
		return err
	}
	for i := range list {
		if err := list[i].understand(l.protocol); err != nil {
			return fmt.Errorf("frame %d: %w", i, err)
		}
	}
	if list, err = checkEnd(list, l); err != nil {
		return err
	}
	if l.protocol == protocol.RawID {
		return newView(log, l, 0).checkAll(list)
	}
	if len(list) == 0 && l.end != endAlive {
		return nil
	}
	if len(list) == 0 || list[0].kind != "welcome" {
		return errors.New("no welcome")
	}
	return checkWelcomed(log, l, list)
}

// checkEnd checks the close frame and takes it off.
func checkEnd(list []heard, l *life) ([]heard, error) {
	i := slices.IndexFunc(list, func(h heard) bool { return h.kind == "close" })
	want := l.end == endClosed || l.end == endEvicted
	switch {
	case i < 0 && want:
		return nil, errors.New("no close frame")
	case i < 0:
		return list, nil
	case i < len(list)-1:
		return nil, fmt.Errorf("%s follows the close frame", list[i+1].kind)
	case !want && l.end != endLeft:
		return nil, fmt.Errorf("closed with %d", list[i].closeCode)
	case want && list[i].closeCode != l.closed:
		return nil, fmt.Errorf("closed with %d, want %d", list[i].closeCode, l.closed)
	}
	return list[:i], nil
}

// checkWelcomed tries every moment at which the shard may have stood when it welcomed the client: which outages it knew.
func checkWelcomed(log []entry, l *life, list []heard) (err error) {
	err = errors.New("welcomed in a state that the relay never was in")
	offline := true // before the first link
	for known := 0; known <= l.joinedBy; known++ {
		if known > 0 {
			switch log[known-1].kind {
			case entryOffline:
				offline = true
			case entryOnline:
				offline = false
			default:
				continue
			}
		}
		if offline != list[0].offline {
			continue
		}
		v := newView(log, l, known)
		if err = v.checkAll(list[1:]); err == nil {
			l.left = v.left()
			return nil
		}
	}
	return err
}
