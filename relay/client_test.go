package relay_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

const handshake = "HTTP/1.1 101 Switching Protocols\r\n\r\n"

// A testClient is one client of a hub. One goroutine at a time uses it.
type testClient struct {
	story
	t       testing.TB
	session *relay.Session
	outbox  outbox.Outbox
	socket  *testSocket
	read    int // bytes that were decoded
	left    bool
}

// A story has the commands of one client and the events that it received: all
// that a checker knows of it.
type story struct {
	id       string
	protocol protocol.ID
	gapClose bool
	together bool       // its channels share a cursor
	commands []*command // by ref, from 1
	events   []event
	fault    error // the first frame that cannot be decoded
	cut      bool  // the last frame is incomplete
	end      ending
	failed   string // the channel on which check found it wrong
}

// A command is answered once for each channel. before and after bound what
// Redis had published by then: everything up to before had been received when
// the client asked, nothing after begunBy had begun when it was answered.
type command struct {
	kind            string // of the answer on success
	channels        []string
	after           []string // subscribed: the cursor that the client sent, by channel; empty if it sent no cursor
	since           []string // likewise: the id that its application has read
	last            []int    // likewise: how many of the newest messages it asked for
	before, begunBy int
	asked           int64 // the moment of the streams when the client asked
}

type ending uint8

const (
	endAlive   ending = iota // connected to the last: it must have received everything
	endLeft                  // the connection broke
	endClosed                // the relay closed, after everything that was queued
	endEvicted               // it was too slow
)

// connectOptions are those of [testHub.connect].
type connectOptions struct {
	id       string
	protocol protocol.Protocol // nil: V1
	room     int               // bytes that the socket takes at once
	channels []string          // to subscribe to before the handshake is sent
	place    *place            // for channels that share a cursor: where the client was
	gapClose bool
	identity *access.Identity    // nil: anonymous
	admit    func(*relay.Client) // changes the client before it joins; may be nil
	ask      func(ctx context.Context, user, channel string) (time.Time, protocol.Code)
	moment   func() (moment int64, begun int) // recorded with each event; may be nil
	tamper   func(messages [][]byte) [][]byte // changes the frames that the socket sends; may be nil
	onSend   func(frames [][]byte)            // runs after each send, before the relay goes on; may be nil
}

// connect joins the hub as a transport does.
func (h *testHub) connect(o connectOptions) *testClient {
	if o.protocol == nil {
		o.protocol = protocol.V1{}
	}
	c := &testClient{t: h.t, story: story{id: o.id, protocol: o.protocol.ID(), gapClose: o.gapClose}}
	c.socket = &testSocket{FakeSocket: outboxtest.NewFakeSocket(o.room), moment: o.moment, tamper: o.tamper, onSend: o.onSend}
	c.outbox.Init(h.budget, c.socket, o.protocol.Close(protocol.CloseSlow))
	c.outbox.Hold([]byte(handshake))
	client := relay.Client{Protocol: o.protocol, Outbox: &c.outbox, GapClose: o.gapClose, Principal: access.Principal{Identity: o.identity, Ask: o.ask}}
	if o.admit != nil {
		o.admit(&client)
	}
	c.session = h.Join(client)
	switch {
	case o.place != nil:
		c.session.SubscribeTogether(o.place.requests(o.channels))
	case o.channels != nil:
		c.session.Subscribe(requests(o.channels...))
	}
	c.outbox.Release()
	return c
}

// client connects a client that leaves at the end of the test.
func (h *testHub) client(room int) *testClient {
	c := h.connect(connectOptions{room: room})
	h.t.Cleanup(c.leave)
	return c
}

// leaveSession ends the session. What is queued is still sent.
func (c *testClient) leaveSession() {
	if !c.left {
		c.left = true
		c.session.Leave()
	}
}

// leave ends the session and its connection. Nothing is sent afterwards.
func (c *testClient) leave() {
	c.leaveSession()
	c.outbox.Shut()
	c.socket.Poke()
}

// handle makes the relay handle a command.
func (c *testClient) handle(format string, args ...any) {
	c.session.Handle(fmt.Appendf(nil, format, args...), true)
}

func (c *testClient) subscribe(channel, after string) {
	c.handle(`{"type":"subscribe","channels":[{"channel":%q,"after":%q}]}`, channel, after)
	synctest.Wait()
}

// drain makes the client read everything.
func (c *testClient) drain() {
	c.socket.Give(outboxtest.Unlimited)
	synctest.Wait()
}

// pending returns how many bytes wait for the client.
func (c *testClient) pending() int {
	n, _ := c.outbox.Pending()
	return n
}

var errCut = errors.New("the last frame is incomplete")

// receive decodes what has arrived since the last call.
func (c *testClient) receive() []event {
	got, moments := c.socket.sent()
	if c.read == 0 {
		rest, ok := strings.CutPrefix(string(got), handshake)
		if !ok && !strings.HasPrefix(handshake, string(got)) {
			c.fault = cmp.Or(c.fault, fmt.Errorf("the stream begins with %.40q", got))
		}
		if !ok {
			return nil
		}
		c.read = len(got) - len(rest)
	}
	list, err := decodeFrames(got[c.read:], c.protocol)
	if c.cut = err == errCut; !c.cut {
		c.fault = cmp.Or(c.fault, err)
	}
	for i := range list {
		c.read += list[i].size
		if len(moments) > 0 {
			k, _ := slices.BinarySearchFunc(moments, c.read, func(m sentMoment, n int) int { return cmp.Compare(m.bytes, n) })
			m := moments[min(k, len(moments)-1)]
			list[i].moment, list[i].begun = m.moment, m.begun
		}
	}
	c.events = append(c.events, list...)
	return list
}

// cursors are where a client is, by channel.
type cursors map[string]lastCursors

// lastCursors are the newest cursor on a channel, and that of the newest
// heartbeat since.
type lastCursors struct{ after, at string }

// cursors returns where the client is, by channel, if it was at known when it
// connected.
func (s *story) cursors(known cursors) cursors {
	known = maps.Clone(known)
	if known == nil {
		known = make(cursors)
	}
	joined := make(map[string]bool)
	for _, e := range s.events {
		switch {
		case e.kind == "unsubscribed":
			delete(joined, e.channel)
		case e.kind == "subscribed" && joined[e.channel]: // again
		case e.kind == "subscribed" && e.cursor == "" && !isDurable(e.channel):
			delete(known, e.channel) // the relay has no history
		case e.channel != "" && e.cursor != "":
			if e.kind == "subscribed" {
				joined[e.channel] = true
			}
			known[e.channel] = lastCursors{after: e.cursor}
		case e.kind == "heartbeat" && e.at != "":
			for channel := range joined {
				known[channel] = lastCursors{known[channel].after, e.at}
			}
		}
	}
	return known
}

// received returns what has arrived since the last call, as text, and the last
// cursor.
func (c *testClient) received() (text, cursor string) {
	list := c.receive()
	if c.fault != nil {
		c.t.Fatal(c.fault)
	}
	var lines []string
	for _, e := range list {
		switch e.kind {
		case "message":
			lines = append(lines, fmt.Sprint(e.number))
		case "subscribed":
			lines = append(lines, fmt.Sprint("subscribed ", e.recovered))
		case "gap":
			lines = append(lines, "gap "+e.reason)
		case "heartbeat":
			lines = append(lines, fmt.Sprint("heartbeat ", e.at != ""))
		case "error":
			lines = append(lines, "error "+e.reason)
		case "welcome", "ping", "offline":
		default:
			lines = append(lines, e.kind)
		}
		cursor = cmp.Or(e.cursor, cursor)
	}
	return strings.Join(lines, ","), cursor
}

// want fails unless exactly this has arrived since the last call. It returns
// the last cursor.
func (c *testClient) want(what, text string) (cursor string) {
	c.t.Helper()
	got, cursor := c.received()
	if got != text {
		c.t.Errorf("%s: received %.300s, want %.300s", what, got, text)
	}
	return cursor
}

// numbers returns the numbers n to m as [testClient.received] does.
func numbers(n, m int) string {
	var all []string
	for ; n <= m; n++ {
		all = append(all, fmt.Sprint(n))
	}
	return strings.Join(all, ",")
}

// A testSocket records when it sent what, and may send something else, once.
type testSocket struct {
	*outboxtest.FakeSocket
	moment func() (moment int64, begun int)
	tamper func(messages [][]byte) [][]byte
	onSend func(frames [][]byte)

	mu       sync.Mutex
	tampered bool
	total    int
	moments  []sentMoment
}

// A sentMoment is the moment at which the first so many bytes had been sent, and
// how many entries the relay had begun to receive then.
type sentMoment struct {
	bytes  int
	moment int64
	begun  int
}

// Send implements [outbox.Socket].
func (s *testSocket) Send(frames [][]byte) (int, error) {
	if s.onSend != nil {
		defer s.onSend(frames)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tamper != nil && !s.tampered && len(frames) >= 3 && sameChannel(frames[:3]) {
		s.tampered = true
		s.Give(outboxtest.Unlimited)
		_, err := s.FakeSocket.Send(s.tamper(slices.Clone(frames)))
		return len(slices.Concat(frames...)), err
	}
	n, err := s.FakeSocket.Send(frames)
	if s.total += n; n > 0 && s.moment != nil {
		moment, begun := s.moment()
		s.moments = append(s.moments, sentMoment{s.total, moment, begun})
	}
	return n, err
}

// sent returns the bytes sent, and when.
func (s *testSocket) sent() ([]byte, []sentMoment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Got(), s.moments
}

// sameChannel reports whether all frames are messages of one channel, in V1.
func sameChannel(frames [][]byte) bool {
	list, err := decodeFrames(slices.Concat(frames...), protocol.V1ID)
	return err == nil && len(list) == len(frames) && !slices.ContainsFunc(list, func(e event) bool {
		return e.kind != "message" || e.channel != list[0].channel
	})
}

// requests returns a request to subscribe to each channel.
func requests(channels ...string) []protocol.ChannelRequest {
	list := make([]protocol.ChannelRequest, len(channels))
	for i, channel := range channels {
		list[i].Channel = channel
	}
	return list
}
