package relaytest

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Protocol is the protocol of a client.
type Protocol uint8

// The protocols.
const (
	V1  Protocol = iota // sidecast.v1
	Raw                 // sidecast.raw, asked for by offering no subprotocol
	SSE                 // Server-Sent Events with the objects of sidecast.v1. The client cannot send commands
)

// String returns the protocol's name on the wire.
func (p Protocol) String() string {
	switch p {
	case Raw:
		return "sidecast.raw"
	case SSE:
		return "server-sent events"
	}
	return "sidecast.v1"
}

// A Dialer connects clients. Its fields must not change after the first use. It
// keeps one copy of every message that its clients receive. Its methods may be
// called concurrently.
type Dialer struct {
	// URL is the relay's address: "ws://127.0.0.1:8080/ws". Its query is kept.
	URL      string
	Protocol Protocol
	// Relay names the relay at URL, if there are several. It names a process,
	// not an address: a relay that was restarted has another name. Only the
	// checker uses it.
	Relay string
	// SentAt returns when the byte at this offset, and all before it, had left
	// the relay for a connection from local: see faultproxy.Proxy.PassedAt. Nil
	// if no proxy traces the connections.
	SentAt func(local string, offset int64) time.Time

	// Channels are the channels that a client of Raw or SSE names in its URL.
	Channels []string
	// Last is how many of the newest messages a raw client asks for; 0 does not
	// ask.
	Last int
	// GapClose makes a raw client ask to be closed when messages may be
	// missing.
	GapClose bool

	// Offer replaces the subprotocols that the client offers for Protocol, if
	// it is not nil.
	Offer []string
	// Header is added to the header of the handshake.
	Header http.Header

	// ReceiveBuffer sets SO_RCVBUF before connecting, so that the buffer of a
	// client that does not read is soon full. 0 keeps the default.
	ReceiveBuffer int

	messages messageCache
}

// dialTimeout bounds one handshake.
const dialTimeout = 20 * time.Second

// A HandshakeError is an answer to the handshake with another status than 101.
type HandshakeError struct {
	Status int
	Header http.Header
	Body   string // its first 64 KiB
}

// Error returns the status and the beginning of the body.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("the relay answered %d: %.200q", e.Status, e.Body)
}

// Dial connects a client over TCP. The error is a *[HandshakeError] if the
// relay answered with another status than 101. On sidecast.v1 it does not wait
// for the welcome. The caller ends the client with [Client.Close] or
// [Client.Drop].
func (d *Dialer) Dial(ctx context.Context) (*Client, error) {
	return d.dial(ctx, &stream{channels: d.Channels})
}

// dial is Dial with the channels of a client of SSE, and the last id that it
// received.
func (d *Dialer) dial(ctx context.Context, s *stream) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	target, err := d.target(s)
	if err != nil {
		return nil, err
	}
	netDialer := net.Dialer{Control: receiveBuffer(d.ReceiveBuffer)}
	conn, err := netDialer.DialContext(ctx, "tcp", target.Host)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	tcp := conn.(*net.TCPConn)
	stop := context.AfterFunc(ctx, func() { tcp.Close() })
	pausable := &pausableConn{conn: tcp}
	reader := bufio.NewReaderSize(pausable, 2<<10)
	subprotocol := ""
	if d.Protocol == SSE {
		reader, err = s.request(d, tcp, reader, target)
	} else {
		subprotocol, err = d.handshake(tcp, reader, target)
		s = nil
	}
	if !stop() {
		err = fmt.Errorf("handshake: %w", ctx.Err()) // the connection was closed during the handshake
	}
	if err != nil {
		tcp.Close()
		return nil, err
	}
	return d.client(pausable, reader, subprotocol, s), nil
}

// DialFleet connects n clients, several at a time. If one fails, all are
// dropped.
func (d *Dialer) DialFleet(ctx context.Context, n int) (Fleet, error) {
	fleet := make(Fleet, n)
	err := each(ctx, n, func(ctx context.Context, i int) (err error) {
		fleet[i], err = d.Dial(ctx)
		return err
	})
	if err == nil {
		return fleet, nil
	}
	for _, c := range fleet {
		if c != nil {
			c.Drop()
		}
	}
	return nil, err
}

func (d *Dialer) target(s *stream) (*url.URL, error) {
	target, err := url.Parse(d.URL)
	if err != nil {
		return nil, fmt.Errorf("parsing the relay's address: %w", err)
	}
	if target.Scheme != "ws" || target.Port() == "" {
		return nil, fmt.Errorf("parsing the relay's address: %q is not ws://host:port/path", d.URL)
	}
	query := target.Query()
	if d.Protocol == SSE {
		target.Path = strings.TrimSuffix(target.Path, "/ws") + "/sse"
		query["channel"] = s.channels
		query.Set("format", "json")
	}
	if d.Protocol == Raw {
		for _, channel := range d.Channels {
			query.Add("channel", channel)
		}
		if d.Last > 0 {
			query.Set("last", strconv.Itoa(d.Last))
		}
		if d.GapClose {
			query.Set("gap", "close")
		}
	}
	target.RawQuery = query.Encode()
	return target, nil
}

func (d *Dialer) offer() []string {
	if d.Offer == nil && d.Protocol == V1 {
		return []string{V1.String()}
	}
	return d.Offer
}

// handshake upgrades the connection (RFC 6455 section 4.1) and returns the
// subprotocol that the relay chose.
func (d *Dialer) handshake(conn net.Conn, reader *bufio.Reader, target *url.URL) (string, error) {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	request := &http.Request{Method: http.MethodGet, URL: target, Host: target.Host, Header: d.Header.Clone()}
	if request.Header == nil {
		request.Header = make(http.Header)
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "websocket")
	request.Header.Set("Sec-WebSocket-Version", "13")
	request.Header.Set("Sec-WebSocket-Key", key)
	if offer := d.offer(); len(offer) > 0 {
		request.Header.Set("Sec-WebSocket-Protocol", strings.Join(offer, ", "))
	}
	if err := request.Write(conn); err != nil {
		return "", fmt.Errorf("writing the handshake: %w", err)
	}
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return "", fmt.Errorf("reading the answer to the handshake: %w", err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		return "", &HandshakeError{Status: response.StatusCode, Header: response.Header, Body: string(body)}
	}
	return d.accepted(response.Header, key)
}

// accepted checks the header of a 101 answer and returns its subprotocol.
func (d *Dialer) accepted(header http.Header, key string) (string, error) {
	subprotocol := header.Get("Sec-WebSocket-Protocol")
	offered := false
	for _, name := range d.offer() {
		offered = offered || name == subprotocol
	}
	switch {
	case header.Get("Sec-WebSocket-Accept") != acceptKey(key):
		return "", wireErrorf("Sec-WebSocket-Accept is wrong: %q", header.Get("Sec-WebSocket-Accept"))
	case !strings.EqualFold(header.Get("Upgrade"), "websocket"), !strings.EqualFold(header.Get("Connection"), "upgrade"):
		return "", wireErrorf("101 without Upgrade and Connection: %v", header)
	case header.Get("Sec-WebSocket-Extensions") != "":
		return "", wireErrorf("an extension that the client did not offer: %q", header.Get("Sec-WebSocket-Extensions"))
	case subprotocol != "" && !offered:
		return "", wireErrorf("a subprotocol that the client did not offer: %q", subprotocol)
	}
	return subprotocol, nil
}

func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
