package web

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// Opcodes of RFC 6455.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
)

// A fakeRelay implements the part of a relay that the page needs. It serves the
// page below a base path and sends each message of a client to all clients of
// the channel. It can reject clients, disconnect them and be unavailable.
type fakeRelay struct {
	url string // the URL of the page

	mu         sync.Mutex
	clients    map[net.Conn]string // the channel of each connection
	handshakes []string            // the query of each handshake
	rejection  uint16              // the close code for new connections; 0 accepts them
	down       bool
}

func startRelay(t *testing.T, page Page) *fakeRelay {
	t.Helper()
	f := &fakeRelay{clients: make(map[net.Conn]string)}
	mux := http.NewServeMux()
	mux.Handle("/base/", http.StripPrefix("/base", Demo(page)))
	mux.HandleFunc("/base/ws", f.accept)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(func() { f.disconnect(0) })
	f.url = server.URL + "/base/"
	return f
}

// accept performs the handshake and serves the client until it disconnects.
func (f *fakeRelay) accept(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.handshakes = append(f.handshakes, r.URL.RawQuery)
	rejection, down := f.rejection, f.down
	f.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	if rejection != 0 {
		_, _ = conn.Write(closeFrame(rejection))
		return
	}
	f.serve(conn, buffered.Reader, r.URL.Query().Get("channel"))
}

func (f *fakeRelay) serve(conn net.Conn, reader *bufio.Reader, channel string) {
	f.mu.Lock()
	f.clients[conn] = channel
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.clients, conn)
	}()
	for {
		opcode, payload, err := readFrame(reader)
		if err != nil || opcode == opClose {
			return
		}
		f.publish(channel, opcode, payload)
	}
}

// publish sends a message to all clients of the channel.
func (f *fakeRelay) publish(channel string, opcode byte, payload []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn, subscribed := range f.clients {
		if subscribed == channel {
			_, _ = conn.Write(frame(opcode, payload))
		}
	}
}

func (f *fakeRelay) send(channel, text string) { f.publish(channel, opText, []byte(text)) }

// awaitClients waits until the channel has that many clients. The server
// registers a client slightly after the handshake.
func (f *fakeRelay) awaitClients(t *testing.T, channel string, want int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for f.count(channel) != want {
		if time.Now().After(deadline) {
			t.Fatalf("%d clients of %q, want %d", f.count(channel), channel, want)
		}
		runtime.Gosched()
	}
}

func (f *fakeRelay) count(channel string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, subscribed := range f.clients {
		if subscribed == channel {
			n++
		}
	}
	return n
}

// disconnect closes all connections, with a close frame unless code is 0.
func (f *fakeRelay) disconnect(code uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.clients {
		if code != 0 {
			_, _ = conn.Write(closeFrame(code))
		}
		_ = conn.Close()
	}
}

// reject makes the relay close new connections with a code after the handshake.
// 0 accepts connections again.
func (f *fakeRelay) reject(code uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rejection = code
}

// setDown makes handshakes fail, as if the relay were not running.
func (f *fakeRelay) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

// attempts returns the queries of all handshakes so far.
func (f *fakeRelay) attempts() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.handshakes)
}

func closeFrame(code uint16) []byte { return frame(opClose, binary.BigEndian.AppendUint16(nil, code)) }

func frame(opcode byte, payload []byte) []byte {
	f := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		f = append(f, byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 127), uint64(n))
	}
	return append(f, payload...)
}

// readFrame reads a masked frame of an unfragmented message, as browsers send
// them.
func readFrame(r *bufio.Reader) (opcode byte, payload []byte, err error) {
	header := make([]byte, 2)
	if _, err := io.ReadFull(r, header); err != nil {
		return 0, nil, err
	}
	n := int(header[1] & 0x7f)
	if n == 126 {
		long := make([]byte, 2)
		if _, err := io.ReadFull(r, long); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(long))
	}
	body := make([]byte, 4+n)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	mask, payload := body[:4], body[4:]
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return header[0] & 0x0f, payload, nil
}
