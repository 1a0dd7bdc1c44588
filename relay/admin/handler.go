package admin

import (
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapes bounds how many scrapes run at once; further ones are answered 503.
const scrapes = 4

// index is the answer to whoever asks for something else.
const index = "nothing is here; there is /metrics, /livez, /readyz and /debug/pprof/"

// Config is what [Handler] needs.
type Config struct {
	Registry *prometheus.Registry
	Ready    http.Handler // answers /readyz
	Live     http.Handler // answers /livez

	Token    string // opens profiles and everything that is not GET or HEAD; empty: nothing does
	Loopback bool   // the listener is reachable from this machine only
}

// Handler answers /metrics, /livez, /readyz and /debug/pprof/. Anybody who reaches the listener may read the first three.
// Profiles need the token, as `Authorization: Bearer`, unless the listener is loopback; whatever is neither GET nor HEAD
// always needs it. On a loopback listener the Host and, where there is one, the Origin have to be loopback too, so that
// no web page reads from it through the browser of somebody on this machine.
func Handler(c Config) http.Handler {
	a := newAccess(c.Token, c.Loopback)
	mux := http.NewServeMux()
	mux.Handle("/metrics", readOnly(promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: scrapes,
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
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, index, http.StatusNotFound) })
	return a.door(mux)
}

// readOnly refuses to change what cannot be changed.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !reads(r) {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this can only be read", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }
