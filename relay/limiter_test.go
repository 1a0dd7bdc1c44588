package relay

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const (
	milli  = int64(time.Millisecond)
	second = int64(time.Second)
)

// A burst is allowed at once, then one command each time one is earned.
func TestLimiterRefills(t *testing.T) {
	rate, l := newCommandRate(20, 50), limiter{}
	for i := range 50 {
		if v := l.take(rate, 0); v != limitAllow {
			t.Fatalf("command %d of the burst: verdict %d", i, v)
		}
	}
	for _, step := range []struct {
		at   int64
		want limitResult
		why  string
	}{
		{0, limitRefuse, "the burst is used up"},
		{50*milli - 1, limitDrop, "not quite earned, and reported already"},
		{50 * milli, limitAllow, "earned"},
		{50 * milli, limitDrop, "only one"},
		{999 * milli, limitAllow, "eighteen more are earned"},
		{1000 * milli, limitAllow, "and another one"},
		{60 * second, limitAllow, "a long rest"},
	} {
		if got := l.take(rate, step.at); got != step.want {
			t.Errorf("after %v: verdict %d, want %d: %s", time.Duration(step.at), got, step.want, step.why)
		}
	}
	for range 49 {
		if v := l.take(rate, 60*second); v != limitAllow {
			t.Fatal("a long rest does not fill the bucket")
		}
	}
	if v := l.take(rate, 60*second); v == limitAllow {
		t.Error("a long rest fills more than the bucket")
	}
}

// The integer bucket decides as the textbook's does, at any time and rate.
func TestLimiterIsATokenBucket(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		perSecond, burst := 1+random.IntN(200), 1+random.IntN(100)
		rate, l := newCommandRate(float64(perSecond), burst), limiter{}
		cost := int64(float64(second) / float64(perSecond))
		tokens, now, last := int64(burst)*cost, int64(0), int64(0)
		for range 500 {
			now += random.Int64N(2 * cost)
			if random.IntN(50) == 0 {
				now += random.Int64N(100 * cost)
			}
			tokens, last = min(tokens+now-last, int64(burst)*cost), now
			want := tokens >= cost
			if want {
				tokens -= cost
			}
			if got := l.take(rate, now) == limitAllow; got != want {
				t.Fatalf("rate %d, burst %d, at %v: allowed %v, want %v", perSecond, burst, time.Duration(now), got, want)
			}
		}
	}
}

// A client that is too fast gets an error once a second, and is closed at its
// hundredth rejected command in 10 s.
func TestLimiterRefuses(t *testing.T) {
	rate, l := newCommandRate(0.001, 1), limiter{}
	l.take(rate, 0)
	var verdicts []limitResult
	for i := range int64(maxRefusals) {
		verdicts = append(verdicts, l.take(rate, i*99*milli)) // 99 refusals in 9.8 s
	}
	reported := 0
	for i, v := range verdicts[:maxRefusals-1] {
		switch v {
		case limitRefuse:
			reported++
		case limitDrop:
		default:
			t.Fatalf("refusal %d: verdict %d", i+1, v)
		}
	}
	if reported != 9 { // at 0, 1.089, 2.178, ... s
		t.Errorf("reported %d times in 9.8 s, want 9", reported)
	}
	if last := verdicts[maxRefusals-1]; last != limitClose {
		t.Errorf("the hundredth refusal: verdict %d, want %d", last, limitClose)
	}
}

// A client with fewer rejections than that is never closed.
func TestLimiterToleratesFewRejections(t *testing.T) {
	rate, l := newCommandRate(0.001, 1), limiter{}
	l.take(rate, 0)
	for i := range int64(2000) {
		if v := l.take(rate, i*102*milli); v == limitClose {
			t.Fatalf("closed at rejection %d, with 98 in 10 s", i)
		}
	}
}

func TestLimiterOff(t *testing.T) {
	for _, perSecond := range []float64{0, -1} {
		rate, l := newCommandRate(perSecond, 50), limiter{}
		if slices.ContainsFunc(make([]int, 10_000), func(int) bool { return l.take(rate, 0) != limitAllow }) {
			t.Errorf("a rate of %v refuses", perSecond)
		}
	}
	rate, l := newCommandRate(1, 0), limiter{}
	if l.take(rate, 0) != limitAllow {
		t.Error("without a burst nothing is allowed at all")
	}
}

// Commands that are charged afterwards delay the next ones.
func TestLimiterCharges(t *testing.T) {
	rate, l := newCommandRate(20, 50), limiter{}
	for range 120 {
		l.charge(rate, 0)
	}
	for _, step := range []struct {
		at   int64
		want limitResult
	}{{0, limitRefuse}, {3549 * milli, limitRefuse}, {3550 * milli, limitAllow}} {
		if got := l.take(rate, step.at); got != step.want {
			t.Errorf("after %v: verdict %d, want %d", time.Duration(step.at), got, step.want)
		}
	}
	rate, l = newCommandRate(0, 0), limiter{}
	l.charge(rate, 0)
	if got := l.take(rate, 0); got != limitAllow {
		t.Errorf("without a limit: verdict %d", got)
	}
}
