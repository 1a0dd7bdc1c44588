package relaytest

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// fake is a relay with its Redis in memory that says the right words on the wire. It exists to be broken: what the
// checker is worth shows only on relays that lose, repeat, swap and leak.
type fake struct {
	t      testing.TB
	server *http.Server
	url    string
	serves sync.WaitGroup
	broken mutation

	mu       sync.Mutex // held while anything is handed to the sessions, so that all see one order
	sessions []*fakeSession
	down     bool     // the link to Redis is cut
	count    int      // messages from Redis
	held     *fakeMsg // a message that waits to be swapped with the next
	lateGap  bool     // the gap is still owed, behind the next message
}

// mutation is how a fake is broken. Zero is not at all; a number N breaks one message in N.
type mutation struct {
	drop, duplicate, swap, leak, corrupt, misframe int

	gapLate, gapMissing, gapTwice, gapEarly, gapQuiet bool

	offlineMissing, dead bool // dead: nothing is delivered after the link has healed
}

type fakeMsg struct {
	channel string
	payload []byte
}

type fakeSession struct {
	conn     net.Conn
	protocol Protocol
	gapClose bool

	mu       sync.Mutex // of the fields below and of writes
	channels []string
	over     bool
}

func newFake(t testing.TB, m mutation) *fake {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, url: "ws://" + l.Addr().String() + "/ws", broken: m}
	f.server = &http.Server{Handler: http.HandlerFunc(f.serve), ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = f.server.Close()
		<-done
		f.each(func(s *fakeSession) { s.conn.Close() })
		f.serves.Wait()
	})
	return f
}

// serve takes a handshake and runs its session.
func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/ws" {
		http.Error(w, "clients connect to /ws", http.StatusNotFound)
		return
	}
	query := r.URL.Query()
	s := &fakeSession{protocol: Raw, channels: query["channel"], gapClose: query.Get("gap") == "close"}
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		acceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n"
	if r.Header.Get("Sec-WebSocket-Protocol") == V1.String() {
		s.protocol, s.channels = V1, nil
		answer += "Sec-WebSocket-Protocol: " + V1.String() + "\r\n"
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	f.serves.Add(1)
	defer f.serves.Done()
	defer conn.Close()
	s.conn = conn
	f.join(s, answer+"\r\n")
	f.read(s, rw.Reader)
}

// join answers the handshake and attaches the session in one step: what is published once the client knows that it is
// connected reaches it.
func (f *fake) join(s *fakeSession, answer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = s.conn.Write([]byte(answer)) // a broken connection shows at the first read
	f.sessions = append(f.sessions, s)
	if s.protocol == V1 {
		s.say(map[string]any{"type": "welcome", "session": "fake", "heartbeat": 25, "offline": f.down})
	}
}

func (f *fake) read(s *fakeSession, r *bufio.Reader) {
	for {
		m, err := readFrame(r, true, 1<<20)
		switch {
		case err != nil:
			s.end()
			return
		case m.op == OpPing:
			s.write(encodeFrame(OpPong, m.payload))
		case m.op == OpClose:
			s.write(encodeFrame(OpClose, m.payload))
			s.end()
			return
		case m.op == OpText && s.protocol == V1:
			f.command(s, m.payload)
		case (m.op == OpText || m.op == OpBinary) && len(s.channels) == 1:
			_, _ = f.publish(context.Background(), s.channels[0], m.payload)
		}
	}
}

func (f *fake) command(s *fakeSession, text []byte) {
	var cmd command
	if json.Unmarshal(text, &cmd) != nil {
		s.close(1007)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch cmd.Type {
	case "subscribe":
		for _, w := range cmd.Channels {
			if w.Channel == "forbidden" {
				s.say(map[string]any{"type": "error", "code": "forbidden", "message": "no", "channel": w.Channel, "ref": cmd.Ref})
				continue
			}
			s.subscribe(w.Channel, true)
			s.say(map[string]any{"type": "subscribed", "channel": w.Channel, "recovered": false, "ref": cmd.Ref})
		}
	case "unsubscribe":
		s.subscribe(cmd.Channel, false)
		s.say(map[string]any{"type": "unsubscribed", "channel": cmd.Channel, "ref": cmd.Ref})
	case "publish":
		payload := cmd.Base64
		if cmd.Data != nil {
			payload = []byte(*cmd.Data)
		}
		f.receive(fakeMsg{cmd.Channel, payload})
		s.say(map[string]any{"type": "ok", "ref": cmd.Ref})
	case "ping":
		s.say(map[string]any{"type": "pong", "ref": cmd.Ref})
	default:
		s.say(map[string]any{"type": "error", "code": "unknown_type", "message": "no", "ref": cmd.Ref})
	}
}

// publish is Redis's PUBLISH, as a [PublishFunc].
func (f *fake) publish(_ context.Context, channel string, payload []byte) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return 0, nil
	}
	f.receive(fakeMsg{channel, slices.Clone(payload)})
	return 1, nil
}

// receive is a message from Redis, as far as the mutation lets it come. It needs the lock.
func (f *fake) receive(m fakeMsg) {
	f.count++
	hits := func(oneIn int) bool { return oneIn > 0 && f.count%oneIn == 0 }
	switch {
	case hits(f.broken.drop):
		return
	case hits(f.broken.corrupt):
		m.payload = slices.Clone(m.payload)
		m.payload[len(m.payload)-1] ^= 1
	case hits(f.broken.swap) && f.held == nil:
		f.held = &m
		return
	}
	f.fanOut(m, hits(f.broken.leak))
	if hits(f.broken.duplicate) {
		f.fanOut(m, false)
	}
	if f.held != nil && f.held.channel == m.channel {
		f.fanOut(*f.held, false)
		f.held = nil
	}
	if f.lateGap {
		f.lateGap = false
		f.gap()
	}
}

func (f *fake) fanOut(m fakeMsg, leak bool) {
	misframe := f.broken.misframe > 0 && f.count%f.broken.misframe == 0
	raw, v1 := m.encode(utf8.Valid(m.payload) && !misframe)
	for _, s := range f.sessions {
		switch {
		case !leak && !s.listens(m.channel):
		case s.protocol == Raw:
			s.write(raw)
		default:
			s.write(v1)
		}
	}
}

// cut breaks the link to Redis.
func (f *fake) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
	for _, s := range f.sessions {
		if !f.broken.offlineMissing {
			s.event(map[string]any{"type": "offline", "reason": "redis"})
		}
	}
	if f.broken.gapEarly {
		f.gap()
	}
}

// heal mends the link.
func (f *fake) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = f.broken.dead
	switch {
	case f.broken.gapLate:
		f.lateGap = true
	case f.broken.gapMissing, f.broken.gapEarly:
	case f.broken.gapTwice:
		f.gap()
		f.gap()
	default:
		f.gap()
	}
}

// gap tells everybody. It needs the lock.
func (f *fake) gap() {
	for _, s := range f.sessions {
		if s.gapClose {
			s.close(4410)
			continue
		}
		s.event(map[string]any{"type": "gap", "reason": "redis"})
	}
}

func (f *fake) each(do func(*fakeSession)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sessions {
		do(s)
	}
}

func (s *fakeSession) subscribe(channel string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels = slices.DeleteFunc(s.channels, func(name string) bool { return name == channel })
	if on {
		s.channels = append(s.channels, channel)
	}
}

func (s *fakeSession) listens(channel string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.channels, channel)
}

// encode returns the message's frames in both protocols.
func (m fakeMsg) encode(text bool) (raw, v1 []byte) {
	op, message := OpText, map[string]any{"type": "message", "channel": m.channel, "data": string(m.payload)}
	if !text {
		op = OpBinary
		delete(message, "data")
		message["base64"] = base64.StdEncoding.EncodeToString(m.payload)
	}
	return encodeFrame(op, m.payload), encodeFrame(OpText, encodeJSON(message))
}

func encodeJSON(message map[string]any) []byte {
	text, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	return text
}

func encodeFrame(op byte, payload []byte) []byte {
	return appendFrame(nil, frame{fin: true, op: op, payload: payload}, nil)
}

// event says something for which raw has no words.
func (s *fakeSession) event(message map[string]any) {
	if s.protocol == V1 {
		s.say(message)
	}
}

func (s *fakeSession) say(message map[string]any) { s.write(encodeFrame(OpText, encodeJSON(message))) }

func (s *fakeSession) close(code uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeLocked(encodeFrame(OpClose, []byte{byte(code >> 8), byte(code)}))
	s.endLocked()
}

func (s *fakeSession) write(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeLocked(b)
}

func (s *fakeSession) writeLocked(b []byte) {
	if s.over {
		return
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := s.conn.Write(b); err != nil {
		s.over = true
	}
}

func (s *fakeSession) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked()
}

func (s *fakeSession) endLocked() {
	s.over = true
	_ = s.conn.(*net.TCPConn).CloseWrite()
}
