package accept

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sidecast/relay/stats"
)

// A Problem says why a client is rejected. It is logged with the client's
// address. Its texts are constants: they contain nothing that a client sent.
type Problem struct {
	Reason stats.Rejection
	Text   string // the mistake or the limit
	Do     string // what the operator or the author of the page can do
}

// Problems of connections, also of those that are not rejected when they are
// accepted.
var (
	AddressLimit = Problem{
		Reason: stats.RejectAddress,
		Text:   "too many connections from one address, or too many new ones in a second",
		Do: "if many users share this address, raise SIDECAST_MAX_CONNECTIONS_PER_IP or SIDECAST_MAX_CONNECT_RATE_PER_IP; " +
			"if it is your proxy, add it to SIDECAST_TRUSTED_PROXIES",
	}
	// ForwardedLimit concerns an address that a trusted proxy forwarded, so it
	// is not the address of a proxy that is missing in the settings.
	ForwardedLimit = Problem{
		Reason: stats.RejectAddress,
		Text:   "too many connections from one address, or too many new ones in a second",
		Do:     "if many users share this address, raise SIDECAST_MAX_CONNECTIONS_PER_IP or SIDECAST_MAX_CONNECT_RATE_PER_IP",
	}
	ConnectionLimit = Problem{
		Reason: stats.RejectCapacity,
		Text:   "the relay has as many clients as it accepts",
		Do:     "raise SIDECAST_MAX_CONNECTIONS, or start another relay",
	}
	idleClosed = Problem{
		Reason: stats.RejectIdle,
		Text:   "all places are taken, so the oldest connection without a WebSocket is closed",
		Do:     "if this is no attack, raise SIDECAST_MAX_CONNECTIONS, or start another relay",
	}
	malformed = Problem{
		Reason: stats.RejectMalformed,
		Text: "an HTTP request cannot be read: it is malformed or incomplete, or its headers are larger than " +
			"16 KiB (431)",
		Do: "if this is a browser, its cookies for this host may be too large: let the application set fewer or smaller ones",
	}
	secured = Problem{
		Reason: stats.RejectMalformed,
		Text:   "a client begins a TLS handshake on a port that does not encrypt",
		Do: "let the page use ws:// and not wss:// (in Laravel: VITE_REVERB_SCHEME=http and REVERB_SCHEME=http, and forceTLS: false), " +
			"or the port of a proxy that encrypts; or set SIDECAST_TLS_CERT and SIDECAST_TLS_KEY",
	}
)

// Refusals counts and reports rejected clients, and logs some of them: of each problem the
// first ten, and then one in ten seconds, so that hostile clients cannot fill
// the disk. It is safe for concurrent use. The methods of a nil *Refusals do
// nothing.
type Refusals struct {
	stats  *stats.Stats
	logger *slog.Logger
	report func(stats.Rejection) // may be nil

	mu     sync.Mutex
	limits map[*Problem]*rate.Sometimes
}

// NewRefusals returns Refusals that count in s. If report is not nil, it is
// called for each rejected client, and must not wait.
func NewRefusals(s *stats.Stats, logger *slog.Logger, report func(stats.Rejection)) *Refusals {
	return &Refusals{stats: s, logger: logger, report: report, limits: make(map[*Problem]*rate.Sometimes)}
}

// Count counts a client that is rejected for a reason that needs no log entry.
func (r *Refusals) Count(reason stats.Rejection) {
	if r == nil {
		return
	}
	r.stats.Rejected[reason].Add(1)
	if r.report != nil {
		r.report(reason)
	}
}

// Add counts a rejected client and logs it. client is its address. p must be
// one of a few that exist as long as the process.
func (r *Refusals) Add(p *Problem, client string) {
	if r != nil {
		r.Count(p.Reason)
		r.Log(p, client)
	}
}

// Log logs a rejected client without counting it.
func (r *Refusals) Log(p *Problem, client string) {
	r.limit(p).Do(func() {
		r.logger.Warn("client rejected",
			"reason", stats.Rejections[p.Reason], "remote", client, "problem", p.Text, "do", p.Do)
	})
}

func (r *Refusals) limit(p *Problem) *rate.Sometimes {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit := r.limits[p]
	if limit == nil {
		limit = &rate.Sometimes{First: 10, Interval: 10 * time.Second}
		r.limits[p] = limit
	}
	return limit
}

// serve marks the connections whose requests reach a handler: the HTTP server
// rejects all other requests without notice.
func serve(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := FromContext(r.Context()); c != nil {
			c.served.Store(true)
		}
		next.ServeHTTP(w, r)
	})
}
