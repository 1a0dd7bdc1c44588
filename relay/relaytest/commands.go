package relaytest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
	"unicode/utf8"
)

// A CommandError is the relay's answer to a command that it rejected.
type CommandError struct {
	Code    string
	Message string
	Channel string
}

// Error returns the code, the message and the channel.
func (e *CommandError) Error() string {
	return fmt.Sprintf("%s: %s (%q)", e.Code, e.Message, e.Channel)
}

// A ChannelRequest is one channel of a subscribe command.
type ChannelRequest struct {
	Channel string `json:"channel"`
	After   string `json:"after,omitempty"` // the cursor of the last message, subscribed or gap received
	At      string `json:"at,omitempty"`    // the cursor of the newest heartbeat since
	Since   string `json:"since,omitempty"` // the id of the newest entry that the application has read
	Last    int    `json:"last,omitempty"`  // how many of the newest messages the client asks for
	Sig     string `json:"sig,omitempty"`   // a signature that opens the channel
	User    string `json:"user,omitempty"`  // the user that was signed
}

type command struct {
	Type     string           `json:"type"`
	Ref      int64            `json:"ref,omitempty"`
	Channels []ChannelRequest `json:"channels,omitempty"`
	Channel  string           `json:"channel,omitempty"`
	Data     *string          `json:"data,omitempty"`
	Base64   []byte           `json:"base64,omitempty"`
}

// Subscribe subscribes to the channels in one command and waits until the relay
// has answered for each. The error is a *[CommandError] if the relay rejected
// one. Only for sidecast.v1.
func (c *Client) Subscribe(ctx context.Context, channels ...string) error {
	requests := make([]ChannelRequest, len(channels))
	for i, channel := range channels {
		requests[i].Channel = channel
	}
	return c.SubscribeFrom(ctx, requests...)
}

// SubscribeFrom is [Client.Subscribe] with all fields of a request.
func (c *Client) SubscribeFrom(ctx context.Context, requests ...ChannelRequest) error {
	sent, err := c.command(command{Type: "subscribe", Channels: requests})
	if err != nil {
		return err
	}
	pending := make(map[string]bool, len(requests))
	for _, r := range requests {
		pending[r.Channel] = true
	}
	return c.answer(ctx, sent, func(e Event) bool {
		if e.Kind == KindSubscribed {
			delete(pending, e.Channel)
		}
		return len(pending) == 0
	})
}

// Publish publishes through the relay and waits for the answer; it is a
// [PublishFunc]. It returns -1, because the relay does not report the number of
// receivers. Only for sidecast.v1.
func (c *Client) Publish(ctx context.Context, channel string, payload []byte) (int64, error) {
	cmd := command{Type: "publish", Channel: channel}
	if utf8.Valid(payload) {
		cmd.Data = new(string(payload))
	} else {
		cmd.Base64 = payload
	}
	sent, err := c.command(cmd)
	if err != nil {
		return -1, err
	}
	return -1, c.answer(ctx, sent, Is(KindOK))
}

// Barrier sends a WebSocket ping and waits for its pong. The relay sends the
// pong after everything that it had queued for this client, so all of that is
// in the log when Barrier returns. A client of SSE cannot send a ping: it waits
// for two heartbeats, the second of which the relay cannot have sent before.
func (c *Client) Barrier(ctx context.Context) error {
	if c.stream != nil {
		e, err := c.AwaitAfter(ctx, c.Last(), Is(KindHeartbeat))
		if err == nil {
			_, err = c.AwaitAfter(ctx, e, Is(KindHeartbeat))
		}
		return err
	}
	nonce := binary.BigEndian.AppendUint64(nil, rand.Uint64())
	last := c.Last()
	if err := c.SendFrame(true, OpPing, nonce); err != nil {
		return err
	}
	_, err := c.AwaitAfter(ctx, last, func(e Event) bool { return e.Kind == KindPongFrame && e.Data == string(nonce) })
	return err
}

// command numbers a command, logs it and sends it, and returns the last event
// before its answers.
func (c *Client) command(cmd command) (Event, error) {
	cmd.Ref = c.refs.Add(1)
	text, err := json.Marshal(cmd)
	if err != nil {
		return Event{}, fmt.Errorf("encoding a command: %w", err)
	}
	e := Event{At: time.Now(), Kind: KindSent, Text: cmd.Type, Channel: cmd.Channel, Ref: cmd.Ref}
	if cmd.Type != "subscribe" {
		c.log.add(e)
	}
	for _, r := range cmd.Channels {
		e.Channel, e.Cursor, e.Data, e.Since, e.Last = r.Channel, r.After, r.At, r.Since, r.Last
		c.log.add(e)
	}
	sent := c.Last()
	sent.Ref = cmd.Ref
	return sent, c.SendFrame(true, OpText, text)
}

// answer waits for the last answer to a command, or for the error with which
// the relay rejected it.
func (c *Client) answer(ctx context.Context, sent Event, last func(Event) bool) error {
	e, err := c.AwaitAfter(ctx, sent, func(e Event) bool {
		return e.Ref == sent.Ref && e.Kind != KindSent && (e.Kind == KindError || last(e))
	})
	if err == nil && e.Kind == KindError {
		err = &CommandError{Code: e.Text, Message: e.Data, Channel: e.Channel}
	}
	return err
}

// SendText sends one text message: on raw it is published, on sidecast.v1 it is
// a command that the test has written.
func (c *Client) SendText(text string) error {
	c.log.add(Event{At: time.Now(), Kind: KindSent, Text: "text"})
	return c.SendFrame(true, OpText, []byte(text))
}

// SendFrame sends one masked frame. It is not logged.
func (c *Client) SendFrame(fin bool, op byte, payload []byte) error {
	var mask [4]byte
	binary.BigEndian.PutUint32(mask[:], rand.Uint32())
	return c.write(appendFrame(nil, frame{fin: fin, op: op, payload: payload}, &mask))
}

// SendRaw writes bytes as they are, for tests of invalid input. Afterwards the
// relay may close the connection without a violation.
func (c *Client) SendRaw(b []byte) error {
	c.log.add(Event{At: time.Now(), Kind: KindSentRaw, Data: fmt.Sprintf("%d bytes", len(b))})
	return c.write(b)
}

func (c *Client) write(b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.conn.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // if it fails, so does Write
	if _, err := c.conn.conn.Write(b); err != nil {
		return fmt.Errorf("writing to the relay: %w", err)
	}
	return nil
}
