package relaytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// A Traveller is one listener that lives through many connections, to one relay or to several, and takes its cursors from
// each to the next, as the rule for clients wants it. It keeps the logs of all of them under one name, so that [Check]
// judges it as one. Its methods belong to one goroutine.
type Traveller struct {
	name     string
	channels []string
	cursors  Cursors
	past     []Session // ended
	now      *Client   // nil between connections

	// Moves counts the connections after the first, Crossings those to another relay than the one before.
	Moves, Crossings int
}

// travellers counts those made in this process.
var travellers atomic.Int64

// NewTraveller returns a listener of these channels that is nowhere yet.
func NewTraveller(channels ...string) *Traveller {
	return &Traveller{name: fmt.Sprintf("traveller %d", travellers.Add(1)), channels: slices.Clone(channels)}
}

// Name tells the traveller from all other clients of this process.
func (t *Traveller) Name() string { return t.name }

// Go ends the present connection, if there is one, connects by the dialer, which must speak sidecast.v1, and asks for all
// channels from where the traveller is. It does not wait for the answers: a connection may break before they come. On an
// error the traveller is nowhere, as far as it was before.
func (t *Traveller) Go(ctx context.Context, d *Dialer) error {
	t.Leave((*Client).Drop)
	c, err := d.Dial(ctx)
	if err != nil {
		return err
	}
	if len(t.past) > 0 {
		t.Moves++
		if t.past[len(t.past)-1].Relay != d.Relay {
			t.Crossings++
		}
	}
	t.now = c
	wishes := make([]Wish, len(t.channels))
	for i, channel := range t.channels {
		wishes[i] = t.cursors.Wish(channel)
	}
	_, err = c.command(command{Type: "subscribe", Channels: wishes})
	if err != nil {
		t.Leave((*Client).Drop)
	}
	return err
}

// Roam keeps the traveller connected until ctx ends: whenever a connection is over, or could not be made, it goes where
// next says, after a pause of at most this long, more than 0. When it returns, the last connection stays.
func (t *Traveller) Roam(ctx context.Context, most time.Duration, next func() *Dialer) {
	for {
		if t.now != nil {
			select {
			case <-t.now.Done():
				t.Leave((*Client).Drop)
			case <-ctx.Done():
				return
			}
		}
		if !pause(rand.N(most), ctx.Done()) {
			return
		}
		_ = t.Go(ctx, next()) // the next try follows
	}
}

// Client returns the present connection, or nil.
func (t *Traveller) Client() *Client { return t.now }

// Leave ends the present connection, if there is one, in the way given: [Client.Drop], [Client.Abort] or one of the test's
// own, after which the connection must be over. All that came until then counts.
func (t *Traveller) Leave(how func(*Client)) {
	if t.now == nil {
		return
	}
	how(t.now)
	<-t.now.Done()
	session := t.now.Session()
	session.Client = t.name
	for _, e := range session.Events {
		t.cursors.Hear(e)
	}
	t.past, t.now = append(t.past, session), nil
}

// Joined waits until the relay has answered for every channel, one way or the other, or the connection is over.
func (t *Traveller) Joined(ctx context.Context) error {
	if t.now == nil {
		return ErrEnded
	}
	for _, channel := range t.channels {
		_, err := t.now.Await(ctx, func(e Event) bool {
			return e.Channel == channel && (e.Kind == KindSubscribed || e.Kind == KindError)
		})
		if err != nil {
			return fmt.Errorf("%s: awaiting the answer for %q: %w", t.name, channel, err)
		}
	}
	return nil
}

// Sessions returns the logs of all connections so far, for [Run].
func (t *Traveller) Sessions() []Session {
	sessions := slices.Clone(t.past)
	if t.now != nil {
		session := t.now.Session()
		session.Client = t.name
		sessions = append(sessions, session)
	}
	return sessions
}
