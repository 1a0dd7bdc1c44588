package events

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"sidecast/relay/stats"
)

const (
	// batchEvents is how many events one request contains at most.
	batchEvents = 100
	// idlePoll is the time between two looks at a stream without new events.
	idlePoll = 500 * time.Millisecond
	// claimInterval is the time between two looks for events of other relays.
	claimInterval = 15 * time.Second
	// claimAfter is the time after which a relay takes over events that another
	// relay has taken and not posted.
	claimAfter = time.Minute
	// keepInterval is the time after which a relay says that it still has the
	// events that it could not post yet.
	keepInterval = 15 * time.Second
	// firstBackoff and maxBackoff are the times between two requests that fail.
	firstBackoff, maxBackoff = time.Second, 30 * time.Second
	// slowest and fastest are the times between the first requests after an
	// outage of the application, and between those after them, until the relay
	// has caught up.
	slowest, fastest = time.Second, 100 * time.Millisecond
)

// WebhookConfig configures [Webhooks].
type WebhookConfig struct {
	Config
	URL    string
	Secret string // signs the requests
	Format Format
}

// Webhooks posts the events of the stream to the application. All relays are
// one consumer of one group, so that each event is posted by one of them. An
// event is taken from the group's list of pending entries when the application
// has accepted it. So every event that the stream still has is posted at least
// once.
type Webhooks struct {
	// These do not change.
	cfg    WebhookConfig
	client http.RoundTripper
	wake   chan struct{} // has one element if there may be new events
	warn   rate.Sometimes

	// Owned by the goroutine that calls Run.
	group    bool          // the group has existed
	claimed  time.Time     // when the relay last looked for events of others
	failures int           // requests in a row that failed
	pause    time.Duration // before the next request; 0 unless the relay catches up
}

// NewWebhooks returns the webhooks of one relay, which [Webhooks.Run] posts.
func NewWebhooks(cfg WebhookConfig) *Webhooks {
	cfg.Config = cfg.complete()
	cfg.Format = cmp.Or(cfg.Format, FormatJSON)
	return &Webhooks{
		cfg: cfg, client: newTransport(), wake: make(chan struct{}, 1),
		warn: rate.Sometimes{First: 1, Interval: time.Minute},
	}
}

// Wake makes the relay look for new events now. It does not wait, and may be
// called concurrently.
func (w *Webhooks) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run posts events until ctx ends. A request that is under way then is
// completed first.
func (w *Webhooks) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		batch, err := w.next(ctx)
		if err != nil || len(batch) == 0 {
			w.pause = 0
			w.idle(ctx)
			continue
		}
		w.deliver(ctx, batch)
	}
	(&http.Client{Transport: w.client}).CloseIdleConnections()
	return nil
}

// idle waits until there may be new events.
func (w *Webhooks) idle(ctx context.Context) {
	timer := time.NewTimer(jitter(idlePoll))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.wake:
	case <-timer.C:
	}
}

// deliver posts a batch until the application has accepted it or ctx ends.
func (w *Webhooks) deliver(ctx context.Context, batch []Event) {
	kept := time.Now()
	for {
		sleep(ctx, w.pause)
		if ctx.Err() != nil {
			w.release(ctx, batch)
			return
		}
		if time.Since(kept) > keepInterval {
			w.keep(ctx, batch)
			kept = time.Now()
		}
		if err := w.post(ctx, batch); err == nil {
			break
		} else {
			w.failed(err)
		}
	}
	w.accepted(batch)
	w.acknowledge(ctx, batch)
}

// failed counts a request that failed, and makes the next one wait.
func (w *Webhooks) failed(err *postError) {
	w.cfg.Stats.WebhookRequests[err.result].Add(1)
	w.failures++
	w.pause = jitter(min(max(firstBackoff<<min(w.failures-1, 10), err.after), maxBackoff))
	w.warn.Do(func() {
		w.cfg.Logger.Warn("the application does not accept events; they stay in the stream, and the relay tries again",
			"setting", "SIDECAST_EVENTS_URL", "reason", err.reason, "do", err.do)
	})
}

// accepted counts a request that succeeded. After requests that failed, the next
// ones are slow at first, so that the application is not flooded with all that
// has waited.
func (w *Webhooks) accepted(batch []Event) {
	w.cfg.Stats.WebhookRequests[stats.WebhookAccepted].Add(1)
	w.cfg.Stats.WebhookEvents.Add(len(batch))
	switch {
	case w.failures > 0:
		w.cfg.Logger.Info("the application accepts events again", "failed_requests", w.failures)
		w.pause = slowest
	case w.pause > 0:
		w.pause = max(w.pause*9/10, fastest)
	}
	w.failures = 0
}

// jitter returns a random time around d, so that relays do not act at once.
func jitter(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5+1)
}
