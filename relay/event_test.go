package relay_test

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"sidecast/relay/protocol"
)

// An event is one frame that a client received.
type event struct {
	op      byte
	size    int    // of the frame, in bytes
	payload []byte // of the frame; if that is a message, the message's own

	kind      string // the type of a JSON frame; message, ping or close
	channel   string
	cursor    string
	at        string
	places    map[string]string // a cursor for each channel, in place of one for all
	recovered bool
	ref       int
	reason    string
	offline   bool
	number    int // with which a message's payload begins, after #; -1 if it has no number
	closeCode protocol.CloseCode
	moment    int64 // at which it was sent, if the client records that
	begun     int   // entries that the relay had begun to receive then, likewise
}

// decodeFrames decodes all frames of a stream. If the last one is incomplete,
// the error is errCut.
func decodeFrames(stream []byte, proto protocol.ID) (list []event, err error) {
	for len(stream) > 0 {
		head, n := 2, 0
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
			head, n = 4, int(binary.BigEndian.Uint16(stream[2:]))
		default:
			head, n = 10, int(binary.BigEndian.Uint64(stream[2:]))
		}
		if n < 0 || n > 1<<24 {
			return list, fmt.Errorf("frame %d announces %d bytes", len(list), n)
		}
		if len(stream) < head+n {
			return list, errCut
		}
		e := event{op: stream[0] & 0x0f, size: head + n, payload: stream[head : head+n]}
		if err := e.decode(proto); err != nil {
			return list, fmt.Errorf("frame %d: %w", len(list), err)
		}
		list = append(list, e)
		stream = stream[head+n:]
	}
	return list, nil
}

func (e *event) decode(proto protocol.ID) error {
	switch {
	case e.op == byte(protocol.OpClose) && len(e.payload) < 2:
		return fmt.Errorf("a close frame of %d bytes", len(e.payload))
	case e.op == byte(protocol.OpClose) && proto == protocol.PusherID: // its codes are tested in relay/protocol
		e.kind, e.closeCode = "close", protocol.CloseCode(binary.BigEndian.Uint16(e.payload))
		return nil
	case e.op == byte(protocol.OpClose):
		e.kind, e.closeCode = "close", protocol.CloseCode(binary.BigEndian.Uint16(e.payload))
		return e.checkReason(string(e.payload[2:]))
	case e.op == byte(protocol.OpPing):
		e.kind = "ping"
	case proto == protocol.V1ID:
		return e.decodeV1()
	default:
		e.message(e.payload)
	}
	return nil
}

// checkReason returns an error if the close frame has none of the fixed reasons.
func (e *event) checkReason(reason string) error {
	for _, why := range protocol.CloseReasons() {
		if reason == e.closeCode.Because(why).Reason() {
			return nil
		}
	}
	return fmt.Errorf("close %d with the reason %q", e.closeCode, reason)
}

func (e *event) decodeV1() error {
	var f struct {
		Type, Channel, Reason, Code, Cursor, At string
		Ref                                     int
		Offline, Recovered                      bool
		Data                                    *string
		Base64                                  []byte
		Places                                  map[string]string
	}
	if err := json.Unmarshal(e.payload, &f); err != nil || e.op != byte(protocol.OpText) {
		return fmt.Errorf("a frame of type %x with %.80q: %w", e.op, e.payload, err)
	}
	e.kind, e.channel, e.reason, e.ref, e.offline = f.Type, f.Channel, cmp.Or(f.Reason, f.Code), f.Ref, f.Offline
	e.cursor, e.at, e.recovered, e.places = f.Cursor, f.At, f.Recovered, f.Places
	switch {
	case f.Type == "message" && f.Data != nil:
		e.message([]byte(*f.Data))
	case f.Type == "message":
		e.message(f.Base64)
	}
	return nil
}

func (e *event) message(payload []byte) {
	e.kind, e.payload, e.number = "message", payload, -1
	text, _, _ := strings.Cut(strings.TrimPrefix(string(payload), "#"), ":")
	if n, err := strconv.Atoi(text); err == nil {
		e.number = n
	}
}

// String describes an event for failures.
func (e event) String() string {
	return fmt.Sprintf("@%d %s %s %d ref %d %.40q %s %s recovered %v", e.moment, e.kind, e.channel, e.number, e.ref, e.payload,
		e.reason, e.cursor, e.recovered)
}
