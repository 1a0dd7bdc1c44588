package console

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// The sketch agrees with exact counts: a channel with a larger share than one
// counter is found, a count is never too low, and too high by at most the
// surplus that the sketch reports.
func TestBusiest(t *testing.T) {
	for name, channels := range map[string]int{"few": 20, "as many as counters": sketchSize, "many": 20_000} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(channels)))
			now := time.Now()
			b := newBusiest(now)
			exact := make(map[string]int)
			const n = 30_000
			for range n {
				k := random.IntN(channels)
				if random.IntN(2) == 0 {
					k = int(math.Abs(random.NormFloat64() * 4)) // a few are busy
				}
				channel := fmt.Sprintf("channel:%d", k)
				exact[channel]++
				b.message(channel, 10, k)
			}
			later := now.Add(time.Second)
			seconds := sketchAge.Seconds() * (1 - fade(time.Second)) / fade(time.Second) // all messages were at the beginning
			list := b.top(sketchSize, later)
			found := make(map[string]bool)
			for i, c := range list {
				found[c.Channel] = true
				messages, surplus := float64(c.Messages)*seconds, float64(c.Surplus)*seconds
				if real := float64(exact[c.Channel]); messages < real-0.01 || messages-surplus > real+0.01 {
					t.Errorf("%s: between %.1f and %.1f messages, and had %.0f", c.Channel, messages-surplus, messages, real)
				}
				if i > 0 && c.Messages > list[i-1].Messages {
					t.Errorf("%s is after a channel with fewer messages", c.Channel)
				}
				var k int
				if fmt.Sscanf(c.Channel, "channel:%d", &k); c.Subscribers != k {
					t.Errorf("%s has %d subscribers", c.Channel, c.Subscribers)
				}
			}
			for channel, count := range exact {
				if count > n/sketchSize && !found[channel] {
					t.Errorf("%s had %d messages and was not found", channel, count)
				}
			}
			if first := b.top(3, later); len(first) != 3 || first[0] != list[0] {
				t.Errorf("the first three are %+v", first)
			}
		})
	}
}

// The rate of a channel is right from the first second on, and vanishes after
// its last message.
func TestBusiestRates(t *testing.T) {
	now := time.Now()
	b := newBusiest(now)
	rate := func() float64 {
		if list := b.top(1, now); len(list) > 0 {
			return float64(list[0].Messages)
		}
		return 0
	}
	for second := range 60 {
		for range 100 {
			now = now.Add(10 * time.Millisecond)
			b.message("chat", 50, 1)
			if second == 0 {
				b.age(now)
			}
		}
		if r := rate(); math.Abs(r-100) > 6 {
			t.Errorf("after %d s: %.1f messages per second, want 100", second+1, r)
		}
	}
	if now = now.Add(sketchAge); math.Abs(rate()-100/math.E) > 5 {
		t.Errorf("ten seconds after the last message: %.1f", rate())
	}
	if now = now.Add(5 * time.Minute); rate() != 0 {
		t.Errorf("five minutes after the last message: %.2f", rate())
	}
}

func BenchmarkBusiest(b *testing.B) {
	for _, channels := range []int{1, 100, 100_000} {
		b.Run(fmt.Sprintf("channels=%d", channels), func(b *testing.B) {
			sketch := newBusiest(time.Now())
			var names []string
			for i := range channels {
				names = append(names, fmt.Sprintf("user:%d:inbox", i))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				sketch.message(names[i%channels], 100, 1)
				i += 7
			}
		})
	}
}
