package ws

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/lxzan/gws"

	"sidecast/relay/protocol"
)

// dialTimeout limits the time for connecting and for the handshake.
const dialTimeout = 10 * time.Second

// A Client is a connection to a relay, for tools. Send may be called
// concurrently with Read; the other methods must not be called concurrently.
type Client struct {
	socket *gws.Conn
	events *clientEvents
}

// Dial connects to the relay at the URL address and offers subprotocol. If token is not
// empty, it is sent with the handshake.
func Dial(ctx context.Context, address, subprotocol, token string) (*Client, error) {
	events, offer := &clientEvents{}, subprotocol
	if token != "" {
		offer += ", " + protocol.TokenPrefix + token
	}
	socket, response, err := gws.NewClient(events, &gws.ClientOption{
		Addr:               address,
		HandshakeTimeout:   dialTimeout,
		RequestHeader:      http.Header{headerProtocol: {offer}},
		CheckUtf8Enabled:   true,
		ReadMaxPayloadSize: 512 << 20,
		NewDialer:          func() (gws.Dialer, error) { return contextDialer{ctx}, nil },
	})
	if err != nil {
		if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
			return nil, fmt.Errorf("connecting to %s: the server answers %s", shownURL(address), response.Status)
		}
		return nil, fmt.Errorf("connecting to %s: %w", shownURL(address), err)
	}
	return &Client{socket: socket, events: events}, nil
}

// shownURL returns a URL without user, password and query, which may contain
// secrets.
func shownURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// contextDialer stops dialing when its context ends.
type contextDialer struct{ ctx context.Context }

func (d contextDialer) Dial(network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	return dialer.DialContext(d.ctx, network, address)
}

// Send sends one text message.
func (c *Client) Send(message string) error { return c.socket.WriteString(message) }

// Close sends a close frame and ends the connection. A running Read returns.
func (c *Client) Close() { _ = c.socket.WriteClose(uint16(protocol.CloseNormal), nil) }

// Read calls handle for each message until the connection ends. It returns the
// server's close code, or 0 if the server sent no close frame. message is only
// valid during the call of handle.
func (c *Client) Read(handle func(message []byte)) (code uint16) {
	c.events.handle = handle
	c.socket.ReadLoop()
	return c.events.code
}

// clientEvents handles the events that gws reports to a client.
type clientEvents struct {
	gws.BuiltinEventHandler
	handle func([]byte)
	code   uint16
}

func (e *clientEvents) OnMessage(_ *gws.Conn, message *gws.Message) {
	e.handle(message.Bytes())
	_ = message.Close()
}

func (e *clientEvents) OnPing(socket *gws.Conn, payload []byte) { _ = socket.WritePong(payload) }

func (e *clientEvents) OnClose(_ *gws.Conn, err error) {
	if closed, ok := err.(*gws.CloseError); ok {
		e.code = closed.Code
	}
}
