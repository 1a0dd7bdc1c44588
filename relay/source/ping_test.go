package source

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// TestPingNeedsAnEpoch prevents a PING between two writes of one command of
// go-redis.
func TestPingNeedsAnEpoch(t *testing.T) {
	conn, server := pipeConn(t, new(discardSink))
	defer server.Close()
	if _, err := conn.ping(); !errors.Is(err, errNoEpoch) {
		t.Errorf("ping returned %v", err)
	}
}

// TestRefusalAnswersOnePing checks that as many refusals as there are PINGs
// count as answers, and no more.
func TestRefusalAnswersOnePing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, server := pipeConn(t, new(discardSink))
		done := beginEpoch(conn, server)
		go discard(server)
		for seq := range uint64(3) {
			if got, err := conn.ping(); got != seq+1 || err != nil {
				t.Fatalf("ping returned %d, %v", got, err)
			}
		}
		for seq := range uint64(3) {
			_, _ = io.WriteString(server, "-NOPERM no\r\n")
			synctest.Wait()
			if got := conn.ponged.Load(); got != seq+1 || !conn.epochRunning.Load() {
				t.Fatalf("%d refusals answered %d PINGs; the epoch runs: %v", seq+1, got, conn.epochRunning.Load())
			}
		}
		_, _ = io.WriteString(server, "-NOPERM no\r\n")
		<-done
		if conn.epochRunning.Load() {
			t.Error("a refusal without a PING counts as an answer")
		}
	})
}

// TestPongs checks that answers to the connection's PINGs are recognised in
// either form, once and in order, and similar replies are not.
func TestPongs(t *testing.T) {
	nonce := func(seq int) string { return fmt.Sprintf("%s%016x", noncePrefix, seq) }
	for _, form := range []string{
		"*2\r\n$4\r\npong\r\n$24\r\n%s\r\n", ">2\r\n$4\r\npong\r\n$24\r\n%s\r\n", "$24\r\n%s\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			conn, server := pipeConn(t, new(discardSink))
			passed := make(chan string, 100)
			go func() {
				p := make([]byte, 512)
				for {
					n, err := conn.Read(p)
					if err != nil {
						close(passed)
						return
					}
					passed <- string(p[:n])
				}
			}()
			_, _ = io.WriteString(server, subscribedHead(2))
			synctest.Wait()
			go discard(server)
			for range 2 {
				if _, err := conn.ping(); err != nil {
					t.Fatal(err)
				}
			}
			var wrong strings.Builder
			for len(passed) > 0 {
				<-passed
			}
			for _, n := range []string{
				nonce(3), nonce(0), strings.Repeat("x", 24), strings.Repeat("0", 23) + "1", noncePrefix + "000000000000000g",
			} {
				fmt.Fprintf(server, form, n)
				wrong.WriteString(fmt.Sprintf(form, n))
			}
			synctest.Wait()
			if conn.ponged.Load() != 0 {
				t.Errorf("%q: a foreign PONG was accepted", form)
			}
			fmt.Fprintf(server, form, nonce(1))
			fmt.Fprintf(server, form, nonce(2))
			synctest.Wait()
			if conn.ponged.Load() != 2 {
				t.Errorf("%q: PONGs up to %d were accepted", form, conn.ponged.Load())
			}
			server.Close()
			var got strings.Builder
			for p := range passed {
				got.WriteString(p)
			}
			if got.String() != wrong.String() {
				t.Errorf("go-redis received %q, want %q", got.String(), wrong.String())
			}
		})
	}
}
