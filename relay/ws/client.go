package ws

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/lxzan/gws"

	"sidecast/relay/protocol"
)

// dialTimeout bounds connecting and the handshake.
const dialTimeout = 10 * time.Second

// A Client is a connection to a relay, for tools. Send may be called concurrently with Read; nothing else may.
type Client struct {
	socket *gws.Conn
	events *clientEvents
}

// Dial connects to a relay and speaks the given subprotocol. An empty token is none.
func Dial(ctx context.Context, url, subprotocol, token string) (*Client, error) {
	events, offer := &clientEvents{}, subprotocol
	if token != "" {
		offer += ", " + protocol.TokenPrefix + token
	}
	socket, response, err := gws.NewClient(events, &gws.ClientOption{
		Addr:               url,
		HandshakeTimeout:   dialTimeout,
		RequestHeader:      http.Header{headerProtocol: {offer}},
		CheckUtf8Enabled:   true,
		ReadMaxPayloadSize: 512 << 20,
		NewDialer:          func() (gws.Dialer, error) { return contextDialer{ctx}, nil },
	})
	if err != nil {
		if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
			return nil, fmt.Errorf("connecting to %s: the server answers %s", url, response.Status)
		}
		return nil, fmt.Errorf("connecting to %s: %w", url, err)
	}
	return &Client{socket: socket, events: events}, nil
}

// contextDialer ends an attempt to connect when its context ends.
type contextDialer struct{ ctx context.Context }

func (d contextDialer) Dial(network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	return dialer.DialContext(d.ctx, network, address)
}

// Send sends one text message.
func (c *Client) Send(message string) error { return c.socket.WriteString(message) }

// Close says good-bye and ends the connection, and Read with it.
func (c *Client) Close() { _ = c.socket.WriteClose(uint16(protocol.CloseNormal), nil) }

// Read calls take for each message until the connection ends, and returns the code with which the server closed, or 0.
// The bytes are only valid during the call.
func (c *Client) Read(take func(message []byte)) (code uint16) {
	c.events.take = take
	c.socket.ReadLoop()
	return c.events.code
}

// clientEvents is what gws calls on the client's side.
type clientEvents struct {
	gws.BuiltinEventHandler
	take func([]byte)
	code uint16
}

func (e *clientEvents) OnMessage(_ *gws.Conn, message *gws.Message) {
	e.take(message.Bytes())
	_ = message.Close()
}

func (e *clientEvents) OnPing(socket *gws.Conn, payload []byte) { _ = socket.WritePong(payload) }

func (e *clientEvents) OnClose(_ *gws.Conn, err error) {
	if closed, ok := err.(*gws.CloseError); ok {
		e.code = closed.Code
	}
}
