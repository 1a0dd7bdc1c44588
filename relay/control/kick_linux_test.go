package control_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
)

var kicks = flag.Int("kicks", 6, "number of users to kick during each kind of fault")

// kicksAtOnce is how many users are kicked during one fault.
const kicksAtOnce = 5

// A kickWorld is two relays, of which one is disturbed, and a channel on which
// the time is published again and again.
type kickWorld struct {
	*application
	proxy   *faultproxy.Proxy
	relays  [2]*relaytest.Process // the first one is disturbed
	witness *relaytest.Client     // at the first one; nobody kicks it
	users   int                   // so far
	slowest time.Duration         // until a message reached a client that was not kicked
}

func newKickWorld(t *testing.T) *kickWorld {
	server := redistest.Start(t)
	w := &kickWorld{application: newApplication(t, server), proxy: faultproxy.Start(t, server.Addr)}
	w.relays = [2]*relaytest.Process{start(t, w.proxy.Addr, nil), start(t, server.Addr, nil)}
	w.witness = dial(t, w.relays[0], token(t, "witness", time.Now().Add(-time.Minute), ""))
	subscribe(t, w.witness, "live")
	ctx, stop := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for ctx.Err() == nil {
			_ = w.redis.Publish(ctx, "live", time.Now().UnixNano()).Err()
			time.Sleep(5 * time.Millisecond)
		}
	})
	t.Cleanup(func() { stop(); publishing.Wait() })
	return w
}

// A kicked is one user with a session at each relay.
type kicked struct {
	name, token string
	sessions    [2]*relaytest.Client
	at          time.Time // when the user was kicked
}

// join connects users, who receive messages.
func (w *kickWorld) join() (users []*kicked) {
	w.t.Helper()
	for range kicksAtOnce {
		w.users++
		u := &kicked{name: fmt.Sprint("user ", w.users)}
		u.token = token(w.t, u.name, time.Now().Add(-time.Minute), "")
		for i, relay := range w.relays {
			u.sessions[i] = dial(w.t, relay, u.token)
			subscribe(w.t, u.sessions[i], "live")
			await(w.t, u.sessions[i], "a message", relaytest.Is(relaytest.KindMessage))
		}
		users = append(users, u)
	}
	return users
}

// kickAll kicks the users, one after the other.
func (w *kickWorld) kickAll(users []*kicked) {
	for _, u := range users {
		time.Sleep(rand.N(20 * time.Millisecond))
		w.kick(u.name)
		u.at = time.Now()
	}
}

// check fails if a session of the users is not closed with 4409, has received a
// message that was published after the limit, or if their token is still
// accepted by a relay.
func (w *kickWorld) check(users []*kicked, limit func(*kicked, int) time.Time) {
	w.t.Helper()
	for _, u := range users {
		for i, session := range u.sessions {
			wantClose(w.t, session, fmt.Sprintf("%s at relay %d", u.name, i), 4409)
			end := limit(u, i)
			for _, e := range session.Events() {
				if e.Kind == relaytest.KindMessage && published(w.t, e).After(end) {
					w.t.Errorf("%s at relay %d receives a message %v after the limit", u.name, i, published(w.t, e).Sub(end))
				}
			}
			wantClose(w.t, dial(w.t, w.relays[i], u.token), fmt.Sprintf("the token of %s at relay %d", u.name, i), 4401)
		}
	}
	// Who logs in again is welcome.
	again := dial(w.t, w.relays[0], token(w.t, users[0].name, time.Now().Add(2*time.Second), ""))
	await(w.t, again, "the welcome", relaytest.Is(relaytest.KindWelcome))
	again.Drop()
}

// published returns when a message was published.
func published(t testing.TB, e relaytest.Event) time.Time {
	nanos, err := strconv.ParseInt(e.Data, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(0, nanos)
}

// soon returns the end of the second after a time, in which a kick must have
// reached the relay, and of how long messages needed to reach the witness: this
// machine may be busy.
func (w *kickWorld) soon(from time.Time) time.Time {
	for _, e := range w.witness.Events() {
		if e.Kind == relaytest.KindMessage && e.At.After(from) {
			w.slowest = max(w.slowest, e.At.Sub(published(w.t, e)))
		}
	}
	return from.Add(time.Second + w.slowest)
}

// cycles runs f so often that enough users are kicked.
func cycles(f func()) {
	for range (*kicks + kicksAtOnce - 1) / kicksAtOnce {
		f()
	}
}

// Users are kicked while the relay's link is cut: the control message is lost.
// No message of the next epoch reaches them.
func TestKickWhileTheLinkIsCut(t *testing.T) {
	t.Parallel()
	w := newKickWorld(t)
	cycles(func() {
		users, before := w.join(), w.witness.Last()
		w.proxy.Refuse(true)
		w.proxy.Reset()
		if _, err := w.witness.AwaitAfter(t.Context(), before, relaytest.Is(relaytest.KindOffline)); err != nil {
			t.Fatal(err)
		}
		w.kickAll(users)
		healed := time.Now()
		w.proxy.Refuse(false)
		w.awaitGap(before)
		w.check(users, func(u *kicked, relay int) time.Time {
			if relay == 0 {
				return healed
			}
			return w.soon(u.at)
		})
	})
}

// awaitGap waits until the witness has received a gap after e, and a message
// after that.
func (w *kickWorld) awaitGap(e relaytest.Event) relaytest.Event {
	w.t.Helper()
	gap, err := w.witness.AwaitAfter(w.t.Context(), e, relaytest.Is(relaytest.KindGap))
	if err == nil {
		_, err = w.witness.AwaitAfter(w.t.Context(), gap, relaytest.Is(relaytest.KindMessage))
	}
	if err != nil {
		w.t.Fatalf("the link does not return: %v", err)
	}
	return gap
}

// Users are kicked while the relay is stopped, as on a machine that swaps.
func TestKickWhileTheRelayIsStopped(t *testing.T) {
	t.Parallel()
	w := newKickWorld(t)
	cycles(func() {
		users, before := w.join(), w.witness.Last()
		w.relays[0].Pause()
		w.kickAll(users)
		time.Sleep(rand.N(300 * time.Millisecond))
		goesOn := time.Now()
		w.relays[0].Continue()
		if _, err := w.witness.AwaitAfter(t.Context(), before, func(e relaytest.Event) bool {
			return e.Kind == relaytest.KindMessage && published(t, e).After(goesOn)
		}); err != nil {
			t.Fatal(err)
		}
		w.check(users, func(u *kicked, relay int) time.Time {
			if relay == 0 {
				return w.soon(goesOn)
			}
			return w.soon(u.at)
		})
	})
}

// Users are kicked while the relay reconnects again and again.
func TestKickWhileTheRelayReconnects(t *testing.T) {
	t.Parallel()
	w := newKickWorld(t)
	cycles(func() {
		users, before := w.join(), w.witness.Last()
		var last time.Time
		var kicking sync.WaitGroup
		kicking.Go(func() { w.kickAll(users) })
		for range 4 {
			time.Sleep(rand.N(30 * time.Millisecond))
			last = time.Now()
			w.proxy.Reset()
		}
		kicking.Wait()
		gap := w.awaitGap(before)
		for gap.At.Before(last) { // there may be one for an earlier reset
			gap = w.awaitGap(gap)
		}
		w.check(users, func(u *kicked, relay int) time.Time {
			epoch := u.at
			if relay == 0 && gap.At.After(epoch) {
				epoch = gap.At
			}
			return w.soon(epoch)
		})
	})
}
