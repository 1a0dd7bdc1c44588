package events

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

const (
	// Length is the approximate number of entries to which the stream of events
	// is trimmed.
	Length = 10_000
	// queueBytes bounds the reports that wait for Redis.
	queueBytes = 1 << 20
	// reportCharge is the cost of a report in addition to its text.
	reportCharge = 192
	// batchReports is how many reports are written with one round trip.
	batchReports = 128
	// retryAfter is the time after which the writer tries again while the link
	// to Redis is down.
	retryAfter = 250 * time.Millisecond
	// refusedRate and refusedBurst bound the reports of kind refused, per second
	// and at once: clients must not drive the other events out of the stream.
	refusedRate, refusedBurst = 10, 100
	// finishTimeout is how long the writer writes after its context has ended.
	finishTimeout = time.Second
)

// Config configures a [Writer], [Webhooks] and an [Unheard].
type Config struct {
	Redis  Redis
	Stream string       // name of the stream in Redis
	Stats  *stats.Stats // nil counts nothing
	Logger *slog.Logger // nil discards
}

func (c Config) complete() Config {
	c.Stats = cmp.Or(c.Stats, new(stats.Stats))
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// A Writer adds reports to the stream of events. While Redis is unavailable
// they wait, up to [queueBytes].
type Writer struct {
	// These do not change.
	cfg     Config
	enabled [protocol.NumReportKinds]bool
	wake    chan struct{} // has one element if the queue may have reports
	written func()        // is called after entries were added
	warn    rate.Sometimes
	refused *rate.Limiter // of reports that clients can cause without a right

	// Guarded by mu.
	mu    sync.Mutex
	queue []protocol.Report
	bytes int
}

// NewWriter returns a writer that adds reports of these kinds, and answers to
// the application's actions, once [Writer.Run] runs.
func NewWriter(cfg Config, kinds []protocol.ReportKind) *Writer {
	w := &Writer{
		cfg: cfg.complete(), wake: make(chan struct{}, 1), written: func() {},
		warn: rate.Sometimes{First: 1, Interval: time.Minute}, refused: rate.NewLimiter(refusedRate, refusedBurst),
	}
	w.enabled[protocol.ReportControl] = true
	for _, kind := range kinds {
		w.enabled[kind] = true
	}
	return w
}

// OnWritten makes the writer call f after it has added entries. f must not
// wait. It must be called before [Writer.Run].
func (w *Writer) OnWritten(f func()) { w.written = f }

// Enabled reports whether reports of this kind are written.
func (w *Writer) Enabled(kind protocol.ReportKind) bool { return w.enabled[kind] }

// Write adds a report to the queue, or drops it if the queue is full or if there
// are too many reports of refused clients. It does not wait, and may be called
// concurrently.
func (w *Writer) Write(r protocol.Report) {
	if !w.enabled[r.Kind] {
		return
	}
	if r.At.IsZero() {
		r.At = time.Now()
	}
	if r.Kind == protocol.ReportRefused && !w.refused.Allow() || !w.add(r) {
		w.cfg.Stats.EventsDropped.Add(1)
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Writer) add(r protocol.Report) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bytes+charge(r) > queueBytes {
		return false
	}
	w.queue = append(w.queue, r)
	w.bytes += charge(r)
	return true
}

func charge(r protocol.Report) int {
	return reportCharge + len(r.User) + len(r.Session) + len(r.Channel) + len(r.Code) + len(r.Cursor) + len(r.ID)
}

// next returns the reports to write next. They stay in the queue.
func (w *Writer) next() []protocol.Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue[:min(len(w.queue), batchReports)]
}

// remove removes the first n reports.
func (w *Writer) remove(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range n {
		w.bytes -= charge(w.queue[i])
		w.queue[i] = protocol.Report{}
	}
	if w.queue = w.queue[n:]; len(w.queue) == 0 {
		w.queue = nil
	}
}

// Run writes reports until ctx ends, and then those that still wait.
func (w *Writer) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-w.wake:
		}
		for ctx.Err() == nil && !w.writeAll(ctx) {
			sleep(ctx, retryAfter)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	w.writeAll(last)
	return nil
}

// writeAll writes all reports that wait, until ctx ends, and reports false if
// Redis is not there.
func (w *Writer) writeAll(ctx context.Context) bool {
	for ctx.Err() == nil {
		batch := w.next()
		if len(batch) == 0 {
			return true
		}
		if !w.writeBatch(ctx, batch) {
			return false
		}
		w.remove(len(batch))
		w.written()
	}
	return true
}

// writeBatch sends reports to Redis, and reports false if Redis is not there, and
// has none of them. Reports that Redis refuses, or for which its answer is lost,
// are not sent again: they may be in the stream.
func (w *Writer) writeBatch(ctx context.Context, batch []protocol.Report) bool {
	ctx = context.WithoutCancel(ctx) // a report is not lost because the relay stops
	added := make([]*redis.StringCmd, len(batch))
	ran, err := w.cfg.Redis.try(ctx, func(ctx context.Context, client redis.UniversalClient) error {
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, r := range batch {
				added[i] = p.XAdd(ctx, &redis.XAddArgs{Stream: w.cfg.Stream, MaxLen: Length, Approx: true, Values: values(r)})
			}
			return nil
		})
		return err
	})
	if !ran {
		return false
	}
	if err != nil {
		w.warnOf(err)
	}
	if !slices.ContainsFunc(added, func(answer *redis.StringCmd) bool { return !notSent(answer.Err()) }) {
		return false
	}
	for i, r := range batch {
		if added[i].Err() != nil {
			w.cfg.Stats.EventsDropped.Add(1)
		} else {
			w.cfg.Stats.EventsWritten[r.Kind].Add(1)
		}
	}
	return true
}

// warnOf logs why reports could not be written.
func (w *Writer) warnOf(err error) {
	w.warn.Do(func() {
		w.cfg.Logger.Warn("events could not be written to redis", "stream", w.cfg.Stream, "err", err,
			"do", advice(err, "grant +xadd and the key ~"+w.cfg.Stream))
	})
}

// values returns the fields and values of a report's entry.
func values(r protocol.Report) []any {
	list := []any{"kind", r.Kind.String(), "ms", r.At.UnixMilli()}
	for _, field := range []struct{ name, value string }{
		{"user", r.User}, {"session", r.Session}, {"channel", r.Channel}, {"code", r.Code}, {"cursor", r.Cursor}, {"id", r.ID},
	} {
		if field.value != "" {
			list = append(list, field.name, field.value)
		}
	}
	if r.Kind == protocol.ReportControl {
		list = append(list, "count", strconv.Itoa(r.Count))
	}
	return list
}

// sleep waits until d has passed or ctx has ended.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
