package through

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"sidecast/relay/protocol"
)

// Opcodes of RFC 6455.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xa
)

var errFrame = errors.New("not a frame of WebSocket without extensions")

// maxFrame is the largest frame that a socket reads.
const maxFrame = 1 << 20

// A socket is a WebSocket connection. One goroutine at a time may use it; close
// may be called at any time.
type socket struct {
	conn   net.Conn
	reader *bufio.Reader
	key    string      // of its handshake
	stop   func() bool // stops waiting for the end of the context
	pinged func()      // called at each ping; may be nil
}

// A closed is the error of a connection that the relay has closed with a code.
type closed struct {
	Code   protocol.CloseCode
	Reason string
}

func (c *closed) Error() string { return "closed with a close frame" }

func (s *socket) close() {
	if s.stop() { // otherwise the connection is closed already
		_ = s.send(opClose, binary.BigEndian.AppendUint16(nil, protocol.CloseNormal.Number()))
	}
	_ = s.conn.Close()
}

// await returns the text of the next message, for which it waits a limited time.
func (s *socket) await() (string, error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(answerTime))
	defer func() { _ = s.conn.SetReadDeadline(time.Time{}) }()
	return s.next()
}

// next returns the text of the next message. It answers pings. A close frame is
// the error *closed.
func (s *socket) next() (string, error) {
	for {
		op, payload, err := s.frame()
		switch {
		case err != nil:
			return "", err
		case op == opPing:
			if s.pinged != nil {
				s.pinged()
			}
			if err := s.send(opPong, payload); err != nil {
				return "", err
			}
		case op == opClose:
			end := &closed{}
			if len(payload) >= 2 {
				end.Code, end.Reason = protocol.CloseCode(binary.BigEndian.Uint16(payload)), short(string(payload[2:]))
			}
			_ = s.send(opClose, payload[:min(2, len(payload))])
			return "", end
		case op < opClose: // the relay sends each message as one frame
			return string(payload), nil
		}
	}
}

// frame reads a frame of the server, which is not masked.
func (s *socket) frame() (op byte, payload []byte, err error) {
	var head [10]byte
	if _, err := io.ReadFull(s.reader, head[:2]); err != nil {
		return 0, nil, err
	}
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 {
		return 0, nil, errFrame
	}
	size := uint64(head[1])
	switch size {
	case 126:
		_, err = io.ReadFull(s.reader, head[2:4])
		size = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		_, err = io.ReadFull(s.reader, head[2:10])
		size = binary.BigEndian.Uint64(head[2:])
	}
	if err == nil && size > maxFrame {
		err = errFrame
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(s.reader, payload)
	return head[0] & 0x0f, payload, err
}

// send writes a frame of at most 64 KiB.
func (s *socket) send(op byte, payload []byte) error {
	b := []byte{0x80 | op}
	if n := len(payload); n < 126 {
		b = append(b, 0x80|byte(n))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	}
	mask := binary.BigEndian.AppendUint32(nil, rand.Uint32())
	b = append(b, mask...)
	for i, char := range payload {
		b = append(b, char^mask[i%4])
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(answerTime))
	_, err := s.conn.Write(b)
	return err
}
