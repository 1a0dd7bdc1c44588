package relaytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// A ReconnectingClient is one client that reconnects, to one relay or to
// several, and resumes with its cursors as the protocol requires. The logs of
// all its connections have one client name, so that [Check] treats them as one
// client. It is not safe for concurrent use.
type ReconnectingClient struct {
	name     string
	channels []string
	cursors  Cursors
	lastID   string // of a client of SSE
	ended    []Session
	current  *Client // nil between connections

	// Last is how many of the newest messages the client asks for. The relay
	// ignores that once it sends a cursor.
	Last int

	Reconnects int // connections after the first
}

// reconnectingClients counts those of this process.
var reconnectingClients atomic.Int64

// NewReconnectingClient returns a client of these channels that is not
// connected yet.
func NewReconnectingClient(channels ...string) *ReconnectingClient {
	name := fmt.Sprintf("reconnecting client %d", reconnectingClients.Add(1))
	return &ReconnectingClient{name: name, channels: slices.Clone(channels)}
}

// Name returns a name that no other client of this process has.
func (c *ReconnectingClient) Name() string { return c.name }

// Connect drops the current connection, if there is one, connects with the
// dialer, which must use sidecast.v1 or SSE, and subscribes to all channels from where
// the client is. It does not wait for the answers, because a connection may end
// before they arrive. After an error the client is not connected and keeps its
// cursors.
func (c *ReconnectingClient) Connect(ctx context.Context, d *Dialer) error {
	c.Disconnect((*Client).Drop)
	client, err := d.dial(ctx, &stream{channels: c.channels, last: c.lastID})
	if err != nil {
		return err
	}
	if len(c.ended) > 0 {
		c.Reconnects++
	}
	c.current = client
	if client.stream != nil {
		return nil
	}
	requests := make([]ChannelRequest, len(c.channels))
	for i, channel := range c.channels {
		requests[i] = c.cursors.Request(channel)
		requests[i].Last = c.Last
	}
	_, err = client.command(command{Type: "subscribe", Channels: requests})
	if err != nil {
		c.Disconnect((*Client).Drop)
	}
	return err
}

// KeepConnected keeps the client connected until ctx ends: whenever a
// connection has ended or could not be made, it pauses for a random time of at
// most this length, which must be more than 0, and connects with the dialer
// that next returns. The last connection stays open when KeepConnected returns.
func (c *ReconnectingClient) KeepConnected(ctx context.Context, longest time.Duration, next func() *Dialer) {
	for {
		if c.current != nil {
			select {
			case <-c.current.Done():
				c.Disconnect((*Client).Drop)
			case <-ctx.Done():
				return
			}
		}
		if !pause(rand.N(longest), ctx.Done()) {
			return
		}
		_ = c.Connect(ctx, next()) // after an error the loop tries again
	}
}

// Client returns the current connection, or nil.
func (c *ReconnectingClient) Client() *Client { return c.current }

// Disconnect ends the current connection, if there is one, with the function
// given: [Client.Drop], [Client.Abort] or another one that ends the connection.
// Everything that arrived before the end counts.
func (c *ReconnectingClient) Disconnect(end func(*Client)) {
	if c.current == nil {
		return
	}
	end(c.current)
	<-c.current.Done()
	if s := c.current.stream; s != nil {
		c.lastID = s.last
	}
	session := c.current.Session()
	session.Client = c.name
	for _, e := range session.Events {
		c.cursors.Add(e)
	}
	c.ended, c.current = append(c.ended, session), nil
}

// AwaitAnswers waits until the relay has answered for every channel, with
// subscribed or an error. It fails if the connection ends.
func (c *ReconnectingClient) AwaitAnswers(ctx context.Context) error {
	if c.current == nil {
		return ErrEnded
	}
	for _, channel := range c.channels {
		_, err := c.current.Await(ctx, func(e Event) bool {
			return e.Channel == channel && (e.Kind == KindSubscribed || e.Kind == KindError)
		})
		if err != nil {
			return fmt.Errorf("%s: awaiting the answer for %q: %w", c.name, channel, err)
		}
	}
	return nil
}

// Sessions returns the logs of all connections so far, for [Run].
func (c *ReconnectingClient) Sessions() []Session {
	sessions := slices.Clone(c.ended)
	if c.current != nil {
		session := c.current.Session()
		session.Client = c.name
		sessions = append(sessions, session)
	}
	return sessions
}
