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
	"net/http"
	"time"

	"sidecast/relay/blackbox"
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
	// BlackBox records what happens. Without it, there are no busiest channels
	// and no incidents.
	BlackBox *blackbox.Box
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

// A Console serves the page and its data. It is safe for concurrent use.
type Console struct {
	cfg  Config
	feed feed
	page http.Handler
}

// New returns a console. Its caller decides who may use its handlers.
func New(c Config) *Console {
	return &Console{cfg: c, page: newPage(), feed: feed{cfg: &c}}
}

// Page serves the page at /console and its files below. They contain nothing
// about the relay.
func (c *Console) Page() http.Handler { return c.page }

// Feed serves the events that the page shows.
func (c *Console) Feed() http.Handler { return http.HandlerFunc(c.serveFeed) }
