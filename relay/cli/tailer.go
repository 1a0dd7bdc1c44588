package cli

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/ws"
)

// A tailer prints the messages of channels. It is the command tail.
type tailer struct {
	url      string                 // of the relay's WebSocket
	token    func() (string, error) // called at each connection; nil if there is no token
	channels []string
	out      io.Writer // one line for each message
	notes    io.Writer // everything else
	escape   bool      // out is a terminal, which a message must not control

	// Of the current connection.
	first   bool // it is the first one
	refused error
	client  *ws.Client
}

// run prints messages until ctx ends. It reconnects, and says where messages
// may be missing. It returns an error if the first attempt fails or the relay
// rejects a channel.
func (t *tailer) run(ctx context.Context) error {
	backoff := 500 * time.Millisecond
	for t.first = true; ; t.first = false {
		err := t.connect(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case t.refused != nil:
			return t.refused
		case err != nil && t.first:
			return err
		case err != nil:
			fmt.Fprintf(t.notes, "# %s\n", printable(err.Error()))
		default:
			backoff = 500 * time.Millisecond
			fmt.Fprintln(t.notes, "# disconnected")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(rand.Int64N(int64(backoff)) + int64(backoff)/2)):
		}
		backoff = min(2*backoff, 30*time.Second)
	}
}

// connect prints the messages of one connection until it ends.
func (t *tailer) connect(ctx context.Context) error {
	token := ""
	if t.token != nil {
		var err error
		if token, err = t.token(); err != nil {
			return err
		}
	}
	client, err := ws.Dial(ctx, t.url, protocol.SubprotocolV1, token)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	if err != nil && t.first && !untrusted {
		return fmt.Errorf("%w; is a relay running there, and is this the whole URL of its WebSocket?", err)
	}
	if err != nil {
		return err
	}
	t.client = client
	defer context.AfterFunc(ctx, client.Close)()
	type request struct {
		Channel string `json:"channel"`
	}
	var requests []request
	for _, channel := range t.channels {
		requests = append(requests, request{channel})
	}
	subscribe, err := json.Marshal(map[string]any{"type": "subscribe", "channels": requests})
	if err != nil {
		return fmt.Errorf("encoding the subscription: %w", err)
	}
	if err := client.Send(string(subscribe)); err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	code := client.Read(t.receive)
	if c := protocol.CloseCode(code); c == protocol.CloseForbidden || c == protocol.CloseUnauthorized || c == protocol.ClosePolicy {
		t.refused = fmt.Errorf("the relay closes the connection: %d %s%s", code, c.Reason(), t.advice(c == protocol.CloseUnauthorized))
	}
	return nil
}

// tailFrame is the part of the relay's frames that a tailer uses.
type tailFrame struct {
	Type, Channel, Data, Base64, Reason, Code, Message string
}

// receive handles one frame of the relay.
func (t *tailer) receive(message []byte) {
	var f tailFrame
	if err := json.Unmarshal(message, &f); err != nil {
		fmt.Fprintf(t.notes, "# the relay sent a frame that is not sidecast.v1\n")
		return
	}
	switch f.Type {
	case "message":
		t.print(f)
	case "subscribed":
		if t.first {
			fmt.Fprintf(t.notes, "# listening to %s\n", printable(f.Channel))
		} else {
			fmt.Fprintf(t.notes, "# listening to %s again; messages may be missing\n", printable(f.Channel))
		}
	case "gap":
		fmt.Fprintf(t.notes, "# gap (%s): messages may be missing\n", printable(f.Reason))
	case "offline":
		fmt.Fprintf(t.notes, "# the relay has lost its connection to Redis\n")
	case "error":
		t.refused = fmt.Errorf("%q: %s (%s)%s", f.Channel, f.Message, f.Code, t.advice(f.Code == protocol.CodeUnauthorized.String()))
		t.client.Close()
	}
}

// advice says how to log in.
func (t *tailer) advice(unauthorized bool) string {
	switch {
	case !unauthorized:
		return ""
	case t.token == nil:
		return "; log in with --token-file"
	}
	return "; the token has expired or is not valid for this relay: `sidecast token` makes one"
}

// print writes one message on one line, after the channel and a tab if there
// are several channels. Only on a terminal it changes the message.
func (t *tailer) print(f tailFrame) {
	data := f.Data
	if f.Base64 != "" {
		if raw, err := base64.StdEncoding.DecodeString(f.Base64); err == nil {
			data = string(raw)
		}
	}
	channel := f.Channel
	if t.escape {
		channel, data = printable(channel), printable(data)
	}
	if len(t.channels) > 1 {
		fmt.Fprintf(t.out, "%s\t%s\n", channel, data)
		return
	}
	fmt.Fprintf(t.out, "%s\n", data)
}
