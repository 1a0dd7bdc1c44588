package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/ws"
)

const (
	shortestBackoff = 500 * time.Millisecond
	longestBackoff  = 30 * time.Second
	// firstFrame bounds the time until the relay's first frame.
	firstFrame = 15 * time.Second
)

// A tailer prints the messages of channels. It is the command tail.
type tailer struct {
	url      string                 // of the relay's WebSocket
	token    func() (string, error) // called at each connection; nil if there is no token
	filters  tailFilters
	printer  *tailPrinter
	channels []*tailChannel
	named    int // how many of the channels are on the command line

	backoff      time.Duration
	subscribed   bool // at least once
	unauthorized bool // the relay has rejected the login since it last accepted a channel

	// Of the current connection.
	client *ws.Client
	silent time.Duration // without a frame for this long, the connection is dead
	dead   *time.Timer   // closes the connection then
	heard  time.Time     // when the last frame was handled
	retry  bool          // the tailer has closed the connection to try again
	failed error         // ends the tailer
}

func newTailer(url string, token func() (string, error), names []string, printer *tailPrinter, filters tailFilters) *tailer {
	t := &tailer{url: url, token: token, filters: filters, printer: printer, backoff: shortestBackoff}
	for _, name := range names {
		if t.channel(name, false) == nil {
			t.channels = append(t.channels, &tailChannel{name: name, named: true})
		}
	}
	t.named = len(t.channels)
	return t
}

// run prints messages until ctx ends. After an interruption it reconnects and
// resumes. It returns an error if the first attempt fails, if the relay rejects
// the login or a channel, or if the output cannot be written.
func (t *tailer) run(ctx context.Context) error {
	for first := true; ; first = false {
		code, err := t.connect(ctx, first)
		switch {
		case ctx.Err() != nil:
			return nil
		case t.failed != nil:
			return t.failed
		case err != nil && first:
			return err
		}
		wait := t.wait(code)
		t.printer.warn("%s; trying again in %.1f s", t.interruption(code, err), wait.Seconds())
		if err == nil {
			t.printer.print(tailLine{Type: "disconnected", Code: int(code.Number())}, nil)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// wait returns a random time until the next attempt. After a rejected login, the
// next attempt is made at once, because it reads the token again.
func (t *tailer) wait(code protocol.CloseCode) time.Duration {
	if code == protocol.CloseUnauthorized {
		return 0
	}
	wait := rand.N(t.backoff)
	t.backoff = min(2*t.backoff, longestBackoff)
	return wait
}

// interruption describes why there is no connection.
func (t *tailer) interruption(code protocol.CloseCode, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case t.retry:
		return "disconnected"
	case code == 0 && time.Since(t.heard) >= t.silent:
		return fmt.Sprintf("the connection is dead: no heartbeat for %.0f s", t.silent.Seconds())
	case code == 0:
		return "the connection is lost"
	}
	return fmt.Sprintf("the relay has closed the connection (%d %s)", code.Number(), code.Reason())
}

// connect prints the messages of one connection until it ends, and returns the
// relay's close code, or 0 if it sent no close frame.
func (t *tailer) connect(ctx context.Context, first bool) (protocol.CloseCode, error) {
	token := ""
	if t.token != nil {
		var err error
		if token, err = t.token(); err != nil {
			return 0, err
		}
	}
	client, err := ws.Dial(ctx, t.url, protocol.SubprotocolV1, token)
	if err != nil {
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		if first && !untrusted {
			err = fmt.Errorf("%w; is a relay running there, and is this the whole URL of its WebSocket?", err)
		}
		return 0, err
	}
	t.client, t.retry, t.heard = client, false, time.Now()
	for _, c := range t.channels {
		c.state = tailOff
	}
	t.silent, t.dead = firstFrame, time.AfterFunc(firstFrame, client.Close)
	defer t.dead.Stop()
	defer context.AfterFunc(ctx, client.Close)()
	code := protocol.CloseCode(client.Read(t.receive))
	t.checkCode(code)
	return code, nil
}

// checkCode ends the tailer after a close code that another attempt would only
// repeat.
func (t *tailer) checkCode(code protocol.CloseCode) {
	switch code {
	case protocol.CloseUnauthorized:
		again := t.subscribed && t.token != nil && !t.unauthorized
		t.unauthorized = true
		if again {
			return
		}
	case protocol.CloseForbidden, protocol.CloseKicked, protocol.ClosePolicy:
	default:
		return
	}
	if t.failed == nil {
		t.failed = fmt.Errorf("the relay closes the connection: %d %s%s",
			code.Number(), code.Reason(), t.advice(code == protocol.CloseUnauthorized))
	}
}

// fail ends the tailer.
func (t *tailer) fail(err error) {
	if t.failed == nil {
		t.failed = err
	}
	t.client.Close()
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
