package ws

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/protocol"
)

// drainTimes connects n clients, drains the relay over 25 s, and returns how
// long each client waited for its close frame.
func drainTimes(b *bubble, n int) (ends []time.Duration) {
	var recorders []*recorder
	for range n {
		recorders = append(recorders, b.record(b.connect("/"), reply))
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b.hub.Drain(ctx, 25*time.Second, protocol.CloseRestart)
	b.handler.Wait()
	if took := time.Since(began); took > 26*time.Second {
		b.t.Errorf("the drain of %d clients takes %v", n, took)
	}
	for i, e := range recorders {
		closes := e.frames(8)
		if len(closes) != 1 || closes[0].payload != "\x03\xf4"+protocol.CloseRestart.Reason() {
			b.t.Fatalf("client %d received the close frames %+v", i, closes)
		}
		ends = append(ends, closes[0].at.Sub(began))
	}
	return ends
}

// A drain closes clients at a constant rate, in an order that does not depend
// on the order in which they connected.
func TestDrainIsEven(t *testing.T) {
	for _, n := range []int{500, 750, 1300} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				ends := drainTimes(b, n)
				var perPart [5]int // of 5 s
				for _, at := range ends {
					perPart[min(int(at/(5*time.Second)), 4)]++
				}
				for part, closed := range perPart {
					if want := n / 5; closed < want*9/10 || closed > want*11/10 {
						t.Errorf("%d of %d clients are closed in part %d of five: %v", closed, n, part+1, perPart)
					}
				}
				if r := correlation(ends); math.Abs(r) > 0.25 {
					t.Errorf("clients are closed in the order in which they connected: correlation %.2f", r)
				}
			})
		})
	}
}

// correlation returns Pearson's correlation between the times and their
// indices.
func correlation(times []time.Duration) float64 {
	n := float64(len(times))
	var sumX, sumY, sumXX, sumYY, sumXY float64
	for i, at := range times {
		x, y := float64(i), at.Seconds()
		sumX, sumY, sumXX, sumYY, sumXY = sumX+x, sumY+y, sumXX+x*x, sumYY+y*y, sumXY+x*y
	}
	return (n*sumXY - sumX*sumY) / math.Sqrt((n*sumXX-sumX*sumX)*(n*sumYY-sumY*sumY))
}

// With few clients the relay does not use the whole time, and without clients
// it does not wait.
func TestDrainOfFewClients(t *testing.T) {
	for n, most := range map[int]time.Duration{0: 0, 1: time.Second, 20: 2 * time.Second} {
		inBubble(t, func(b *bubble) {
			began := time.Now()
			for i, at := range drainTimes(b, n) {
				if at > most {
					t.Errorf("client %d of %d is closed after %v", i, n, at)
				}
			}
			if took := time.Since(began); took > most+2*time.Second {
				t.Errorf("the drain of %d clients takes %v", n, took)
			}
		})
	}
}

// Clients that do not read do not delay the end of a drain.
func TestDrainOfStuckClients(t *testing.T) {
	inBubble(t, func(b *bubble) {
		for range 50 {
			b.connect("/?channel=a") // never reads
		}
		var recorders []*recorder
		for range 50 {
			recorders = append(recorders, b.record(b.connect("/?channel=a"), reply))
		}
		b.publish("a", strings.Repeat("x", 10_000))
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 29*time.Second)
		defer cancel()
		b.hub.Drain(ctx, 25*time.Second, protocol.CloseRestart)
		b.handler.Wait()
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("the drain takes %v", took)
		}
		for i, e := range recorders {
			if closes := e.frames(8); len(closes) != 1 || len(e.frames(1)) != 1 {
				t.Errorf("client %d, which reads, received %d messages and %d close frames", i, len(e.frames(1)), len(closes))
			}
		}
		if n := b.hub.Sessions(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	}, func(c *relayConfig) { c.age = time.Hour })
}

// A client that is admitted just before the drain and joins just after it is
// closed too.
func TestDrainClosesLateJoiners(t *testing.T) {
	inBubble(t, func(b *bubble) {
		e := b.record(b.connect("/"), reply)
		sleep(time.Minute)
		synctest.Wait()
		if len(e.frames(8)) != 1 || b.hub.Sessions() != 0 {
			t.Errorf("the client received %d close frames, and %d sessions are left", len(e.frames(8)), b.hub.Sessions())
		}
	}, func(c *relayConfig) {
		c.ws.Remote = func(*http.Request) string { // called after the admission and before the join
			c.ws.Hub.Drain(context.Background(), 0, protocol.CloseRestart)
			return "client"
		}
	})
}
