// Package console is the page at /console of the admin listener, on which an
// operator sees live plots of the relay, its busiest channels, and recent gaps,
// evictions and refusals.
//
// The page has no build step and loads nothing from other hosts. It reads one
// event per second from the relay with fetch, so that it can send a token, and
// shows everything as text, never as markup. The first console that is due
// computes the sample of a second for all open consoles. If no console is open,
// nothing is computed.
//
// Package admin decides who may read what.
package console

import (
	"iter"
	"log/slog"
	"net/http"
	"time"

	"sidecast/relay/stats"
)

const (
	// maxConsoles is how many consoles may be open at a time. Each of them takes
	// a connection of the admin listener, which probes and Prometheus need, too.
	maxConsoles = 8
	// interval is the time between two samples.
	interval = time.Second
	// topChannels is how many of the busiest channels a sample has.
	topChannels = 20
	// keptIncidents is how many incidents a console shows when it is opened.
	keptIncidents = 200
	// writeTimeout is how long a browser may take to accept an event.
	writeTimeout = 10 * time.Second
)

// Config configures a [Console]. Only Stats is required.
type Config struct {
	Stats   *stats.Stats
	Gauges  Gauges
	Version string // of the program
	// Settings are those in effect, without secrets.
	Settings []Setting
	// Busiest counts messages by channel while a console is open.
	Busiest *Busiest
	// Incidents returns what happened after a position, the oldest first, each
	// with the position after it. Position 0 is before everything.
	Incidents func(after uint64) iter.Seq2[uint64, Incident]
	Logger    *slog.Logger // nil discards
}

// Gauges are values that [stats.Stats] does not contain. The functions are
// called concurrently. A nil function has no value.
type Gauges struct {
	Sockets      func() int
	OutboxBytes  func() int64
	HistoryBytes func() int64
}

// A Setting is the value of one setting.
type Setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	FromEnv bool   `json:"set"` // false: it is the default
}

// An Incident is a gap, an eviction, a refusal or another event that explains
// why a client did not receive a message.
type Incident struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	Channel string    `json:"channel,omitempty"`
	User    string    `json:"user,omitempty"`
	Session string    `json:"session,omitempty"`
	Code    string    `json:"code,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// A Console serves the page and its data. It is safe for concurrent use.
type Console struct {
	cfg  Config
	feed feed
	page http.Handler
}

// New returns a console. Its caller decides who may use its handlers.
func New(c Config) *Console {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Busiest == nil {
		c.Busiest = new(Busiest)
	}
	console := &Console{cfg: c, page: newPage()}
	console.feed.init(&console.cfg)
	return console
}

// Page serves the page at /console and its files below. They contain nothing
// about the relay.
func (c *Console) Page() http.Handler { return c.page }

// Feed serves the events that the page shows.
func (c *Console) Feed() http.Handler { return http.HandlerFunc(c.serveFeed) }
