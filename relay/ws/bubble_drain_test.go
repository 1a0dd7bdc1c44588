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

// drained runs a drain of 25 s over n clients and returns when each got its close frame, by the order in which they came.
func drained(b *bubble, n int) (ends []time.Duration) {
	var ears []*ear
	for range n {
		ears = append(ears, b.listen(b.connect("/"), pong))
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b.hub.Drain(ctx, 25*time.Second, protocol.CloseRestart)
	b.handler.Wait()
	if took := time.Since(began); took > 26*time.Second {
		b.t.Errorf("draining %d clients takes %v", n, took)
	}
	for i, e := range ears {
		closes := e.sounds(8)
		if len(closes) != 1 || closes[0].payload != "\x03\xf4"+protocol.CloseRestart.Reason() {
			b.t.Fatalf("client %d got %+v", i, closes)
		}
		ends = append(ends, closes[0].at.Sub(began))
	}
	return ends
}

// A drain closes at one rate over its whole time, in an order that has nothing to do with when the clients came.
func TestBubbleDrainIsEven(t *testing.T) {
	for _, n := range []int{500, 750, 1300} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				ends := drained(b, n)
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
					t.Errorf("clients are closed in the order in which they came: correlation %.2f", r)
				}
			})
		})
	}
}

// correlation is Pearson's, between the times and their places in the list.
func correlation(times []time.Duration) float64 {
	n := float64(len(times))
	var sumX, sumY, sumXX, sumYY, sumXY float64
	for i, at := range times {
		x, y := float64(i), at.Seconds()
		sumX, sumY, sumXX, sumYY, sumXY = sumX+x, sumY+y, sumXX+x*x, sumYY+y*y, sumXY+x*y
	}
	return (n*sumXY - sumX*sumY) / math.Sqrt((n*sumXX-sumX*sumX)*(n*sumYY-sumY*sumY))
}

// With few clients there is nobody to spread, and with none nothing to wait for.
func TestBubbleDrainOfFew(t *testing.T) {
	for n, most := range map[int]time.Duration{0: 0, 1: time.Second, 20: 2 * time.Second} {
		inBubble(t, func(b *bubble) {
			began := time.Now()
			for i, at := range drained(b, n) {
				if at > most {
					t.Errorf("client %d of %d is closed after %v", i, n, at)
				}
			}
			if took := time.Since(began); took > most+2*time.Second {
				t.Errorf("draining %d clients takes %v", n, took)
			}
		})
	}
}

// Clients that do not read do not keep a drain from ending in time.
func TestBubbleDrainOfStuckClients(t *testing.T) {
	inBubble(t, func(b *bubble) {
		for range 50 {
			b.connect("/?channel=a") // never reads again
		}
		var ears []*ear
		for range 50 {
			ears = append(ears, b.listen(b.connect("/?channel=a"), pong))
		}
		b.say("a", strings.Repeat("x", 10_000))
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 29*time.Second)
		defer cancel()
		b.hub.Drain(ctx, 25*time.Second, protocol.CloseRestart)
		b.handler.Wait()
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("the drain takes %v", took)
		}
		for i, e := range ears {
			if closes := e.sounds(8); len(closes) != 1 || len(e.sounds(1)) != 1 {
				t.Errorf("client %d, which reads, got %d messages and %d close frames", i, len(e.sounds(1)), len(closes))
			}
		}
		if n := b.hub.Sessions(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	}, func(c *rigConfig) { c.age = time.Hour })
}

// A client that was let in just before the drain, and joins just after it, is closed as well.
func TestBubbleDrainDoesNotMissLateJoiners(t *testing.T) {
	inBubble(t, func(b *bubble) {
		e := b.listen(b.connect("/"), pong)
		_ = e
		pass(time.Minute)
		synctest.Wait()
		if len(e.sounds(8)) != 1 || b.hub.Sessions() != 0 {
			t.Errorf("it got %d close frames, and %d sessions are left", len(e.sounds(8)), b.hub.Sessions())
		}
	}, func(c *rigConfig) {
		c.ws.Remote = func(*http.Request) string { // asked between letting in and joining
			c.ws.Hub.Drain(context.Background(), 0, protocol.CloseRestart)
			return "somebody"
		}
	})
}
