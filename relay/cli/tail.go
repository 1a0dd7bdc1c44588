package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"sync"

	"sidecast/relay/app"
	"sidecast/relay/embedded"
	"sidecast/relay/syntax"
)

func tailCommand() *command {
	var target, tokenFile string
	var asJSON bool
	var filters tailFilters
	c := &command{
		name: "tail", arguments: "[OPTION...] CHANNEL...", min: 1, max: -1,
		summary: "print the messages that a browser would receive",
		details: tailDetails,
	}
	c.flags = func(f *flag.FlagSet) {
		f.StringVar(&target, "url", "", "the relay's WebSocket, as a `URL` like ws://host:8080/ws; default: this machine, at SIDECAST_LISTEN")
		f.StringVar(&tokenFile, "token-file", "", "a `FILE` with the token to log in with; - reads standard input")
		f.Func("filter", "print only messages whose JSON has .field=value, or that contain a `TEXT`; may be repeated, then all must match",
			filters.add)
		f.BoolVar(&asJSON, "json", false, "print lines of JSON, also on a terminal")
	}
	c.run = func(ctx context.Context, p *Program, channels []string) error {
		if target == "" {
			var err error
			if target, err = p.webSocketURL(); err != nil {
				return err
			}
		}
		if u, err := url.Parse(target); err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
			return usageError("--url: write it like ws://host:8080/ws, or wss:// for TLS") // a wrong URL may contain a token anywhere
		}
		return newTailer(target, tokenFrom(tokenFile, p.Stdin), channels, newTailPrinter(p, asJSON), filters).run(ctx)
	}
	return c
}

// tailDetails describes the output.
const tailDetails = `
It prints time, channel, cursor and payload. On a terminal, control characters are escaped, and
colors are used unless NO_COLOR is set. In a file or a pipe, each line is a JSON object with these
fields, as far as they apply:

  type       message; subscribed, unsubscribed; gap: messages may be missing here; offline: the
             relay has lost Redis; disconnected: tail has lost the relay
  time       when tail received it
  channel    a gap without a channel is one of all live channels
  cursor     the position in the channel
  data       the payload; base64 instead if the payload is not UTF-8
  recovered  of subscribed, after a reconnect: false if a gap follows
  reason     of gap, unsubscribed, offline; code: of disconnected, the close code

After an interruption, tail reconnects and continues where it stopped. It reports this on standard
error. It ends if the relay rejects the login or a channel.`

// webSocketURL returns the URL of the configured relay, or of the embedded
// relay that runs on this machine.
func (p *Program) webSocketURL() (string, error) {
	cfg, _, err := p.load()
	if err != nil {
		return "", err
	}
	host := app.Reachable(string(cfg.Listen)) + string(cfg.BasePath)
	if cfg.IsEmbedded() {
		running, err := embedded.ReadRunfile()
		if err != nil {
			return "", err
		}
		host = running.Relay
	}
	if cfg.TLSCert != "" {
		return "wss://" + host + "/ws", nil
	}
	return "ws://" + host + "/ws", nil
}

// tokenFrom returns a function that reads a token from a file at each
// connection, so that the file can be renewed. "-" is stdin, which is read
// once; an empty name means that there is no token. A token is never an
// argument, because all users of the machine can read the arguments of a
// process.
func tokenFrom(file string, stdin io.Reader) func() (string, error) {
	switch file {
	case "":
		return nil
	case "-":
		return sync.OnceValues(func() (string, error) { return readToken(stdin, "standard input") })
	}
	return func() (string, error) {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("opening the token: %w", err)
		}
		defer f.Close()
		return readToken(f, "the file")
	}
}

// readToken reads a token. name describes the reader, for errors.
func readToken(from io.Reader, name string) (string, error) {
	text, err := io.ReadAll(io.LimitReader(from, 64<<10))
	token := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", fmt.Errorf("reading the token: %w", err)
	case syntax.HasBOM(token):
		return "", fmt.Errorf("reading the token: %s begins with a byte order mark (BOM): save it as UTF-8 without BOM", name)
	case token == "" || strings.ContainsAny(token, " ,\r\n\t"):
		return "", fmt.Errorf("reading the token: %s must contain one token and nothing else; `sidecast token` makes one", name)
	}
	return token, nil
}
