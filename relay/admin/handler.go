package admin

import (
	"io"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes limits concurrent scrapes. Further requests for metrics get status
// 503.
const maxScrapes = 4

// notFound is the body of the 404 response for all other paths.
const notFound = "not found; available: /console, /metrics, /livez, /readyz, /publish, /why, /explain, /trace and /debug/pprof/"

// Config configures [Handler]. All fields but Publisher, Console, Why, Explain,
// Trace, Token and Loopback are required.
type Config struct {
	Registry *prometheus.Registry
	Ready    http.Handler // answers /readyz
	Live     http.Handler // answers /livez

	Publisher Publisher // answers /publish
	Console   Console   // answers /console and what its page needs

	// Why answers /why: one JSON object per line. It is called once at a time.
	// nil: the relay keeps no records.
	Why func(WhyQuestion, io.Writer) error

	Explain Explainer // answers /explain; nil: the path does not exist
	Trace   Tracer    // answers /trace; nil: the path does not exist

	Token    string // grants access to profiles, to facts about channels, and to methods other than GET and HEAD; empty: no token does
	Loopback bool   // only this machine can reach the listener
}

// A Console is the page for operators. A nil handler does not exist.
type Console struct {
	Page  http.Handler // the page and its files, which reveal nothing about the relay
	Feed  http.Handler // live values of the relay
	Watch http.Handler // the messages of a channel
}

// Handler serves /metrics, /livez, /readyz, /console, /publish, /why, /explain,
// /trace and /debug/pprof/. The first three and the page of the console require
// no token, and /publish one of its own. Profiles, the feed of the console, and
// facts about channels and clients require the token, sent as
// `Authorization: Bearer`, unless the listener is loopback. Payloads, and methods
// other than GET and HEAD, always require it. On a loopback listener, the Host
// and, if present, the Origin must be loopback too, so that no web page can read
// from the listener through a browser on this machine. What requires the token,
// also if only elsewhere, accepts no requests of pages of other origins.
func Handler(c Config) http.Handler {
	a := newAuthorizer(c.Token, c.Loopback)
	mux := http.NewServeMux()
	mux.Handle("/metrics", readOnly(promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes,
	})))
	mux.Handle("/livez", readOnly(c.Live))
	mux.Handle("/readyz", readOnly(c.Ready))
	for path, profile := range map[string]http.HandlerFunc{
		"/debug/pprof/":        pprof.Index,
		"/debug/pprof/cmdline": pprof.Cmdline,
		"/debug/pprof/profile": pprof.Profile,
		"/debug/pprof/symbol":  pprof.Symbol,
		"/debug/pprof/trace":   pprof.Trace,
	} {
		mux.Handle(path, a.privileged(profile))
	}
	mux.Handle("/why", a.privileged(readOnly(newWhyHandler(c.Why))))
	if c.Explain != nil {
		mux.Handle("/explain", a.privileged(readOnly(explainHandler(c.Explain))))
	}
	if c.Trace != nil {
		mux.Handle("/trace", a.privileged(traceHandler(c.Trace)))
	}
	handleConsole(mux, a, c)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, notFound, http.StatusNotFound) })
	publish, others := newPublishHandler(c.Publisher), a.protectWrites(mux)
	return a.checkSite(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/publish" {
			publish.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	}))
}

// handleConsole adds the paths of the console.
func handleConsole(mux *http.ServeMux, a *authorizer, c Config) {
	handle := func(path string, access func(http.Handler) http.Handler, h http.Handler) {
		if h != nil {
			mux.Handle(path, access(h))
		}
	}
	handle("/console", readOnly, c.Console.Page)
	handle("/console/", readOnly, c.Console.Page)
	private := func(h http.Handler) http.Handler { return a.privileged(readOnly(h)) }
	handle("/console/feed", private, c.Console.Feed)
	handle("/console/watch", a.secret, c.Console.Watch)
	if c.Console.Page != nil {
		publish := newPublishHandler(c.Publisher)
		publish.authorized = true
		handle("/console/publish", a.secret, publish)
	}
}

// readOnly rejects all methods but GET and HEAD.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isRead(r) {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are allowed here", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }
