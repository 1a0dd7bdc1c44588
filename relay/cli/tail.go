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
	c := &command{
		name: "tail", arguments: "[OPTION...] CHANNEL...", min: 1, max: -1,
		summary: "print the messages that a browser would receive",
	}
	c.flags = func(f *flag.FlagSet) {
		f.StringVar(&target, "url", "", "the relay's WebSocket, as a `URL` like ws://host:8080/ws; default: this machine, at SIDECAST_LISTEN")
		f.StringVar(&tokenFile, "token-file", "", "a `FILE` with the token to log in with; - reads standard input")
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
		return (&tailer{
			url: target, token: tokenFrom(tokenFile, p.Stdin), channels: channels, out: p.Stdout, notes: p.Stderr,
			escape: isTerminal(p.Stdout),
		}).run(ctx)
	}
	return c
}

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
