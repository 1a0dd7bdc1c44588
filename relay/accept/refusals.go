package accept

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"sidecast/relay/stats"
)

// Refusals counts rejected clients, and logs some of them: for each reason the
// first ten, and then one in ten seconds, so that hostile clients cannot fill
// the disk. It is safe for concurrent use.
type Refusals struct {
	stats  *stats.Stats
	logger *slog.Logger
	limits [len(stats.Rejections)]rate.Sometimes
}

// A Problem says why a client is rejected. Its texts are constants: they
// contain nothing that a client sent.
type Problem struct {
	Reason stats.Rejection
	Text   string // what is wrong
	Do     string // what the operator or the author of the page can do
}

// NewRefusals returns Refusals that count in s.
func NewRefusals(s *stats.Stats, logger *slog.Logger) *Refusals {
	r := &Refusals{stats: s, logger: logger}
	for i := range r.limits {
		r.limits[i] = rate.Sometimes{First: 10, Interval: 10 * time.Second}
	}
	return r
}

// Count counts a client that is rejected for a reason that needs no log entry.
func (r *Refusals) Count(reason stats.Rejection) { r.stats.Rejected[reason].Add(1) }

// Add counts a rejected client. client is its address.
func (r *Refusals) Add(p *Problem, client string) {
	r.Count(p.Reason)
	r.Log(p, client)
}

// Log logs a rejected client without counting it.
func (r *Refusals) Log(p *Problem, client string) {
	r.limits[p.Reason].Do(func() {
		r.logger.Warn("client rejected",
			"reason", stats.Rejections[p.Reason], "remote", client, "problem", p.Text, "do", p.Do)
	})
}
