package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
)

// pinged is a server that says which PINGs came, and answers when it is told to.
type pinged struct {
	net.Conn
	nonces chan string
}

func newPinged(server net.Conn) *pinged {
	p := &pinged{server, make(chan string, 100)}
	go func() {
		r := bufio.NewReader(server)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if nonce := strings.TrimSpace(line); strings.HasPrefix(nonce, noncePrefix) {
				p.nonces <- nonce
			}
		}
	}()
	return p
}

// answer answers the oldest PING that has not been answered.
func (p *pinged) answer() {
	nonce := <-p.nonces
	fmt.Fprintf(p, "*2\r\n$4\r\npong\r\n$%d\r\n%s\r\n", len(nonce), nonce)
}

// atBarrier runs the test with an epoch whose server answers PINGs only as it says.
func atBarrier(t *testing.T, test func(t *testing.T, tap *tap, server *pinged)) {
	synctest.Test(t, func(t *testing.T) {
		tap, conn := pipeTap(t, new(nobody))
		done := beginEpoch(tap, conn)
		test(t, tap, newPinged(conn))
		conn.Close()
		<-done
	})
}

// callers call CatchUp so often at once, and return what came of it.
func callers(ctx context.Context, l *Link, n int) chan error {
	results := make(chan error, n)
	for range n {
		go func() { results <- l.CatchUp(ctx) }()
	}
	synctest.Wait()
	return results
}

// expectResults takes so many results, which must all be want.
func expectResults(t *testing.T, results chan error, n int, want error) {
	t.Helper()
	for range n {
		if err := <-results; !errors.Is(err, want) {
			t.Fatalf("CatchUp returned %v, want %v", err, want)
		}
	}
	if len(results) > 0 {
		t.Fatalf("%d more returned", len(results))
	}
}

// TestAStampedeCostsTwoPings has 10,000 callers at once, and as many again while the answer is awaited.
func TestAStampedeCostsTwoPings(t *testing.T) {
	const crowd = 10_000
	atBarrier(t, func(t *testing.T, tap *tap, server *pinged) {
		first := callers(t.Context(), tap.link, crowd)
		second := callers(t.Context(), tap.link, crowd)
		if len(first)+len(second) > 0 {
			t.Fatal("returned before an answer came")
		}
		if n := tap.pinged.Load(); n != 1 {
			t.Fatalf("%d PINGs are under way", n)
		}
		server.answer()
		synctest.Wait()
		if n := tap.pinged.Load(); n != 2 {
			t.Fatalf("%d PINGs were sent, want another for those who came later", n)
		}
		if len(second) >= crowd {
			t.Error("an answer was taken for more recent than its question")
		}
		server.answer()
		synctest.Wait()
		if n := len(first) + len(second); n != 2*crowd || tap.pinged.Load() != 2 {
			t.Fatalf("%d returned after %d PINGs", n, tap.pinged.Load())
		}
		expectResults(t, first, crowd, nil)
		expectResults(t, second, crowd, nil)
	})
}

// TestLatecomersWaitForTheNextPing lets one call while the PING of another is under way.
func TestLatecomersWaitForTheNextPing(t *testing.T) {
	atBarrier(t, func(t *testing.T, tap *tap, server *pinged) {
		early := callers(t.Context(), tap.link, 1)
		late := callers(t.Context(), tap.link, 1)
		server.answer()
		synctest.Wait()
		expectResults(t, early, 1, nil)
		if len(late) > 0 {
			t.Fatal("returned with the answer to an older question")
		}
		server.answer()
		expectResults(t, late, 1, nil)
	})
}

// TestAnAbandonedPingHoldsNobodyUp lets all go away who waited for a PING, before and after it was written.
func TestAnAbandonedPingHoldsNobodyUp(t *testing.T) {
	atBarrier(t, func(t *testing.T, tap *tap, server *pinged) {
		ctx, cancel := context.WithCancel(t.Context())
		written := callers(ctx, tap.link, 3)
		unwritten := callers(ctx, tap.link, 3)
		cancel()
		expectResults(t, written, 3, context.Canceled)
		expectResults(t, unwritten, 3, context.Canceled)
		server.answer() // whose turn is next has gone
		synctest.Wait()
		later := callers(t.Context(), tap.link, 1)
		server.answer()
		expectResults(t, later, 1, nil)
		if n := tap.pinged.Load(); n != 2 {
			t.Errorf("%d PINGs", n)
		}
	})
}

// TestOthersPingsDoNotLandAFlight answers a PING of the watchdog's that was written before.
func TestOthersPingsDoNotLandAFlight(t *testing.T) {
	atBarrier(t, func(t *testing.T, tap *tap, server *pinged) {
		if _, err := tap.ping(); err != nil {
			t.Fatal(err)
		}
		results := callers(t.Context(), tap.link, 1)
		server.answer()
		synctest.Wait()
		if len(results) > 0 {
			t.Fatal("returned with the answer to an older PING")
		}
		server.answer()
		expectResults(t, results, 1, nil)
	})
}

// TestARefusedPingIsCaughtUp takes the refusal of a PING, which comes in its place, for its answer.
func TestARefusedPingIsCaughtUp(t *testing.T) {
	atBarrier(t, func(t *testing.T, tap *tap, server *pinged) {
		results := callers(t.Context(), tap.link, 1)
		_, _ = io.WriteString(server, "-NOPERM no\r\n")
		expectResults(t, results, 1, nil)
	})
}

// TestTheEndOfAnEpochEndsAllWaits includes those whose PING has not been written.
func TestTheEndOfAnEpochEndsAllWaits(t *testing.T) {
	atBarrier(t, func(t *testing.T, tap *tap, server *pinged) {
		first := callers(t.Context(), tap.link, 100)
		second := callers(t.Context(), tap.link, 100)
		server.Close()
		expectResults(t, first, 100, ErrUnavailable)
		expectResults(t, second, 100, ErrUnavailable)
		if err := tap.link.CatchUp(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("between epochs CatchUp returned %v", err)
		}
	})
}

// TestAPingThatCannotBeWrittenEndsTheWait closes the conn under the caller's hands.
func TestAPingThatCannotBeWrittenEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap, server := pipeTap(t, new(nobody))
		go readAll(tap)
		_, _ = io.WriteString(server, head(2))
		synctest.Wait()
		// Nobody reads at the server's end, so the write ends by its deadline, and that ends the conn.
		if err := tap.link.CatchUp(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("CatchUp returned %v", err)
		}
		if verdictOf(tap) == nil {
			t.Error("the conn lives")
		}
		server.Close()
	})
}
