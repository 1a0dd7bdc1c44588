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

// A CommandError is the relay's answer to a command that it refused.
type CommandError struct {
	Code    string
	Message string
	Channel string
}

// Error names the code.
func (e *CommandError) Error() string {
	return fmt.Sprintf("%s: %s (%q)", e.Code, e.Message, e.Channel)
}

// A Wish is one channel of a subscribe command.
type Wish struct {
	Channel string `json:"channel"`
	After   string `json:"after,omitempty"` // the cursor of the last message, subscribed or gap heard
	At      string `json:"at,omitempty"`    // the newest heartbeat's since
}

type command struct {
	Type     string  `json:"type"`
	Ref      int64   `json:"ref,omitempty"`
	Channels []Wish  `json:"channels,omitempty"`
	Channel  string  `json:"channel,omitempty"`
	Data     *string `json:"data,omitempty"`
	Base64   []byte  `json:"base64,omitempty"`
}

// Subscribe joins the channels in one command and waits until the relay has answered for each. The error is a
// *[CommandError] if it refused one. Only for sidecast.v1.
func (c *Client) Subscribe(ctx context.Context, channels ...string) error {
	wishes := make([]Wish, len(channels))
	for i, channel := range channels {
		wishes[i].Channel = channel
	}
	return c.SubscribeFrom(ctx, wishes...)
}

// SubscribeFrom is [Client.Subscribe] with cursors.
func (c *Client) SubscribeFrom(ctx context.Context, wishes ...Wish) error {
	sent, err := c.command(command{Type: "subscribe", Channels: wishes})
	if err != nil {
		return err
	}
	waiting := make(map[string]bool, len(wishes))
	for _, w := range wishes {
		waiting[w.Channel] = true
	}
	_, err = c.answer(ctx, sent, func(e Event) bool {
		if e.Kind == KindSubscribed {
			delete(waiting, e.Channel)
		}
		return len(waiting) == 0
	})
	return err
}

// Unsubscribe leaves a channel and waits for the answer. Only for sidecast.v1.
func (c *Client) Unsubscribe(ctx context.Context, channel string) error {
	sent, err := c.command(command{Type: "unsubscribe", Channel: channel})
	if err != nil {
		return err
	}
	_, err = c.answer(ctx, sent, Is(KindUnsubscribed))
	return err
}

// Publish publishes through the relay and waits for the answer; it is a [PublishFunc]. The number of receivers is not
// known and returned as -1. Only for sidecast.v1.
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
	_, err = c.answer(ctx, sent, Is(KindOK))
	return -1, err
}

// Barrier sends a WebSocket ping and waits for its pong, which leaves the relay behind everything that was queued for
// this client before: when it returns, all of that is in the log.
func (c *Client) Barrier(ctx context.Context) error {
	nonce := binary.BigEndian.AppendUint64(nil, rand.Uint64())
	last := c.Last()
	if err := c.SendFrame(true, OpPing, nonce); err != nil {
		return err
	}
	_, err := c.AwaitAfter(ctx, last, func(e Event) bool { return e.Kind == KindPongFrame && e.Data == string(nonce) })
	return err
}

// command numbers a command, logs it and sends it, and returns the last event before its answers.
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
	for _, w := range cmd.Channels {
		e.Channel, e.Cursor, e.Data = w.Channel, w.After, w.At
		c.log.add(e)
	}
	sent := c.Last()
	sent.Ref = cmd.Ref
	return sent, c.SendFrame(true, OpText, text)
}

// answer awaits the last answer to a command, or its refusal.
func (c *Client) answer(ctx context.Context, sent Event, last func(Event) bool) (Event, error) {
	e, err := c.AwaitAfter(ctx, sent, func(e Event) bool {
		return e.Ref == sent.Ref && e.Kind != KindSent && (e.Kind == KindError || last(e))
	})
	if err == nil && e.Kind == KindError {
		err = &CommandError{Code: e.Text, Message: e.Data, Channel: e.Channel}
	}
	return e, err
}

// SendText sends one text message: on raw a publish, on sidecast.v1 a command of the test's own making.
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

// SendRaw writes bytes as they are, for what no client should send. What the relay then does to the connection is no
// violation for the checker.
func (c *Client) SendRaw(b []byte) error {
	c.log.add(Event{At: time.Now(), Kind: KindSentRaw, Data: fmt.Sprintf("%d bytes", len(b))})
	return c.write(b)
}

func (c *Client) write(b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // a closed connection shows at the write
	if _, err := c.conn.Write(b); err != nil {
		return fmt.Errorf("writing to the relay: %w", err)
	}
	return nil
}
