package auth

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// In these tests, one address asks for logins. It may have 8 requests at the
// same time, and 64 may wait.

// TestAbandonedFlights checks that a question loses its place in the queue when
// its last caller has gone, and that a request that has been sent continues.
func TestAbandonedFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newStalledApp(t)
		sent, cancelSent := context.WithCancel(t.Context())
		for i := range 8 {
			a.login(sent, strconv.Itoa(i))
		}
		synctest.Wait()
		cancelSent()
		for round := range 3 { // the second is rejected if the first leaves something in the queue
			ctx, cancel := context.WithCancel(t.Context())
			for i := range 64 {
				a.login(ctx, fmt.Sprint(round, "-", i))
			}
			synctest.Wait()
			a.want(t, "before the clients leave", 8, 64)
			cancel()
			synctest.Wait()
			a.want(t, "after the clients have left", 8, 0)
		}
		if busy := a.pool.stats.AuthRequests[stats.AuthBusy].Load(); busy != 0 {
			t.Errorf("%d questions were rejected", busy)
		}
		a.release()
		synctest.Wait()
		a.want(t, "after the answers", 0, 0)
		a.wantCode(t, "a client that asks again", a.login(t.Context(), "0"), protocol.CodeOK)
		if n := a.pool.stats.AuthRequests[stats.AuthGranted].Load(); n != 8 {
			t.Errorf("%d requests, want 8: the answer for a client that has left is cached", n)
		}
	})
}

// TestSharedFlight checks that a question with several callers needs one place,
// keeps it until the last caller has gone, and is asked again for a caller that
// arrives later.
func TestSharedFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newStalledApp(t)
		for i := range 8 {
			a.login(t.Context(), strconv.Itoa(i))
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		first, second := a.login(ctx, "shared"), a.login(t.Context(), "shared")
		left := a.login(ctx, "left")
		synctest.Wait()
		a.want(t, "with two questions, one of two callers", 8, 2)
		cancel()
		a.wantCode(t, "a caller that has left", first, protocol.CodeUnavailable)
		a.wantCode(t, "the only caller of a question", left, protocol.CodeUnavailable)
		a.want(t, "after the first caller has left", 8, 1)
		later := a.login(t.Context(), "left")
		synctest.Wait()
		a.want(t, "with a caller that asks the abandoned question", 8, 2)
		a.release()
		a.wantCode(t, "the caller that stayed", second, protocol.CodeOK)
		a.wantCode(t, "the caller that asked later", later, protocol.CodeOK)
	})
}

// TestRejectedFlight checks that all callers of a rejected question get the
// same code, that it is counted once, and that it can be asked again.
func TestRejectedFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newStalledApp(t)
		for i := range 8 + 63 {
			a.login(t.Context(), strconv.Itoa(i))
		}
		synctest.Wait()
		callers := []<-chan protocol.Code{a.login(t.Context(), "newest"), a.login(t.Context(), "newest")}
		synctest.Wait()
		for i := range 3 * 64 { // three other addresses fill the other places, a fourth needs one more
			a.loginFrom(t.Context(), publicPeer(i%3), strconv.Itoa(i))
		}
		synctest.Wait()
		for i := range 3 * 8 {
			a.loginFrom(t.Context(), publicPeer(i%3), "more-"+strconv.Itoa(i))
		}
		synctest.Wait()
		a.want(t, "with a full queue", 32, 256)
		a.loginFrom(t.Context(), publicPeer(3), "other")
		synctest.Wait()
		a.want(t, "after one question has replaced another", 32, 256)
		for _, caller := range callers {
			a.wantCode(t, "a caller of the rejected question", caller, protocol.CodeUnavailable)
		}
		if busy := a.pool.stats.AuthRequests[stats.AuthBusy].Load(); busy != 1 {
			t.Errorf("%d rejected questions were counted, want 1", busy)
		}
		again := a.login(t.Context(), "newest")
		a.wantCode(t, "a question when all places are taken", again, protocol.CodeUnavailable)
		a.release()
		synctest.Wait()
		a.wantCode(t, "the same question later", a.login(t.Context(), "newest"), protocol.CodeOK)
	})
}

// TestStopRejectsWaitingFlights checks that Run ends the requests in progress
// and rejects the questions that wait and later ones.
func TestStopRejectsWaitingFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newStalledApp(t)
		var callers []<-chan protocol.Code
		for i := range 8 + 64 {
			callers = append(callers, a.login(t.Context(), strconv.Itoa(i)))
		}
		synctest.Wait()
		ended, end := context.WithCancel(t.Context())
		end()
		_ = a.Run(ended)
		a.want(t, "after the end", 0, 0)
		for _, caller := range append(callers, a.login(t.Context(), "late")) {
			a.wantCode(t, "after the end", caller, protocol.CodeUnavailable)
		}
	})
}

// A stalledApp is an Application that gets no answers before release is called.
// It runs in a synctest bubble.
type stalledApp struct {
	*Application
	release func()
}

func newStalledApp(t *testing.T) *stalledApp {
	released := make(chan struct{})
	a := newStubApp(t, func(r *http.Request) (int, string) {
		select {
		case <-released:
		case <-r.Context().Done():
		}
		return 200, `{"user":"7"}`
	})
	return &stalledApp{Application: a, release: func() { close(released) }}
}

// login asks for a login from the same address as all its other calls. The code
// is sent to the channel.
func (a *stalledApp) login(ctx context.Context, cookie string) <-chan protocol.Code {
	return a.loginFrom(ctx, "203.0.113.9:1", cookie)
}

func (a *stalledApp) loginFrom(ctx context.Context, peer, cookie string) <-chan protocol.Code {
	result := make(chan protocol.Code, 1)
	go func() {
		_, code := a.Login(ctx, from(peer, "Cookie", cookie))
		result <- code
	}()
	return result
}

func (a *stalledApp) wantCode(t *testing.T, comment string, result <-chan protocol.Code, want protocol.Code) {
	t.Helper()
	if got := <-result; got != want {
		t.Errorf("%s: %v, want %v", comment, got, want)
	}
}

// want checks how many flights run and wait, and that the relay remembers no
// others.
func (a *stalledApp) want(t *testing.T, comment string, running, waiting int) {
	t.Helper()
	a.pool.mu.Lock()
	defer a.pool.mu.Unlock()
	q := a.pool.queue
	if q.running != running || q.waiting != waiting || len(a.logins.flights) != running+waiting {
		t.Errorf("%s: %d flights run, %d wait, %d are known; want %d and %d",
			comment, q.running, q.waiting, len(a.logins.flights), running, waiting)
	}
	if running+waiting == 0 && len(q.lines)+len(q.turns) != 0 {
		t.Errorf("%s: the queue remembers %d requesters and %d turns", comment, len(q.lines), len(q.turns))
	}
}
