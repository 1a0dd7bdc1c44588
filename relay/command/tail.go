package command

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/ws"
)

// TailConfig is what [Tail] needs.
type TailConfig struct {
	URL      string                 // of the relay's WebSocket
	Token    func() (string, error) // returns the token to log in with, at each attempt; nil for none
	Channels []string
	Out      io.Writer // one line for each message
	Notes    io.Writer // everything else
}

// TokenFrom returns what reads a token from a file, so that a fresh one that is put there counts at the next connection; -
// is stdin, read once. No token is taken as an argument: arguments are seen by everybody on the machine. An empty name is
// no token.
func TokenFrom(file string, stdin io.Reader) func() (string, error) {
	switch file {
	case "":
		return nil
	case "-":
		return sync.OnceValues(func() (string, error) { return readToken(stdin) })
	}
	return func() (string, error) {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("opening the token: %w", err)
		}
		defer f.Close()
		return readToken(f)
	}
}

func readToken(from io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(from, 64<<10))
	token := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", fmt.Errorf("reading the token: %w", err)
	case token == "" || strings.ContainsAny(token, " ,\r\n\t"):
		return "", errors.New("reading the token: there has to be one, and nothing else; `sidecast token` makes one")
	}
	return token, nil
}

// tailFrame is what the relay says, as far as Tail needs it.
type tailFrame struct {
	Type, Channel, Data, Base64, Reason, Code, Message string
}

// Tail prints what a browser on these channels would hear, until ctx ends. It reconnects, and says where something may be
// missing. It returns an error if the first attempt fails or the relay refuses a channel.
func Tail(ctx context.Context, c TailConfig) error {
	back := 500 * time.Millisecond
	for first := true; ; first = false {
		t := &tail{TailConfig: c, first: first}
		err := t.connection(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case t.refused != nil:
			return t.refused
		case err != nil && first:
			return err
		case err != nil:
			fmt.Fprintf(c.Notes, "# %v\n", err)
		default:
			back = 500 * time.Millisecond
			fmt.Fprintln(c.Notes, "# disconnected")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(rand.Int64N(int64(back)) + int64(back)/2)):
		}
		back = min(2*back, 30*time.Second)
	}
}

// tail is one connection of a [Tail].
type tail struct {
	TailConfig
	first   bool
	refused error
	client  *ws.Client
}

func (t *tail) connection(ctx context.Context) error {
	token := ""
	if t.Token != nil {
		var err error
		if token, err = t.Token(); err != nil {
			return err
		}
	}
	client, err := ws.Dial(ctx, t.URL, protocol.SubprotocolV1, token)
	if err != nil && t.first {
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
	var wanted []request
	for _, channel := range t.Channels {
		wanted = append(wanted, request{channel})
	}
	subscribe, err := json.Marshal(map[string]any{"type": "subscribe", "channels": wanted})
	if err != nil {
		return fmt.Errorf("writing the subscription: %w", err)
	}
	if err := client.Send(string(subscribe)); err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	code := client.Read(t.take)
	if c := protocol.CloseCode(code); c == protocol.CloseForbidden || c == protocol.CloseUnauthorized || c == protocol.ClosePolicy {
		t.refused = fmt.Errorf("the relay closes the connection: %d %s%s", code, c.Reason(), t.advice(c == protocol.CloseUnauthorized))
	}
	return nil
}

func (t *tail) take(message []byte) {
	var f tailFrame
	if err := json.Unmarshal(message, &f); err != nil {
		fmt.Fprintf(t.Notes, "# the relay sent something that is not sidecast.v1\n")
		return
	}
	switch f.Type {
	case "message":
		t.print(f)
	case "subscribed":
		if t.first {
			fmt.Fprintf(t.Notes, "# listening to %s\n", f.Channel)
		} else {
			fmt.Fprintf(t.Notes, "# listening to %s again; messages may be missing\n", f.Channel)
		}
	case "gap":
		fmt.Fprintf(t.Notes, "# gap (%s): messages may be missing\n", f.Reason)
	case "offline":
		fmt.Fprintf(t.Notes, "# the relay has lost Redis\n")
	case "error":
		t.refused = fmt.Errorf("%q: %s (%s)%s", f.Channel, f.Message, f.Code, t.advice(f.Code == protocol.CodeUnauthorized.String()))
		t.client.Close()
	}
}

// advice says how to log in.
func (t *tail) advice(unauthorized bool) string {
	switch {
	case !unauthorized:
		return ""
	case t.Token == nil:
		return "; log in with --token-file"
	}
	return "; the token has expired, or is not one for this relay: `sidecast token` makes one"
}

// print writes one message on one line; with several channels, the channel and a tab stand before it.
func (t *tail) print(f tailFrame) {
	data := f.Data
	if f.Base64 != "" {
		if raw, err := base64.StdEncoding.DecodeString(f.Base64); err == nil {
			data = string(raw)
		}
	}
	if len(t.Channels) > 1 {
		fmt.Fprintf(t.Out, "%s\t%s\n", f.Channel, data)
		return
	}
	fmt.Fprintf(t.Out, "%s\n", data)
}
