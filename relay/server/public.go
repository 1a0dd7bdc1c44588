package server

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"sidecast/relay/auth"
	"sidecast/relay/stats"
	"sidecast/relay/ws"
)

func (s *Server) publicHandler() http.Handler {
	mux := http.NewServeMux()
	base := s.cfg.BasePath
	mux.Handle(base+"/ws", s.cfg.WS)
	mux.HandleFunc(base+"/{$}", s.root)
	mux.HandleFunc("/", s.page)
	for _, prefix := range uniq("", base) {
		mux.HandleFunc("GET "+prefix+"/livez", live)
		mux.HandleFunc("GET "+prefix+"/readyz", s.ready)
	}
	return s.door(mux)
}

func uniq(a, b string) []string {
	if a == b {
		return []string{a}
	}
	return []string{a, b}
}

// door refuses pages of foreign origins before anything else is looked at. Probes have no origin and come by address.
func (s *Server) door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if peer, ok := s.cfg.Proxies.Disbelieved(r); ok {
			s.hint.Do(func() {
				s.cfg.Logger.Warn("X-Forwarded-For from a peer that is not trusted is ignored; if a proxy is there, name it",
					"peer", peer, "setting", "SIDECAST_TRUSTED_PROXIES")
			})
		}
		if err := s.cfg.Origins.Check(r); err != nil && !isProbe(r) {
			s.cfg.Stats.Rejected[stats.RejectOrigin].Add(1)
			s.log.origin(r, err)
			w.Header().Set("Connection", "close")
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isProbe(r *http.Request) bool {
	return (r.URL.Path == "/livez" || r.URL.Path == "/readyz") && r.Header.Get("Origin") == ""
}

// root is where a bare `new WebSocket("ws://host")` arrives.
func (s *Server) root(w http.ResponseWriter, r *http.Request) {
	if ws.IsUpgrade(r) {
		s.cfg.WS.ServeHTTP(w, r)
		return
	}
	s.page(w, r)
}

// page serves the demo page where there is one.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	inBase := strings.HasPrefix(r.URL.Path, s.cfg.BasePath+"/")
	if s.cfg.Demo != nil && inBase && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		http.StripPrefix(s.cfg.BasePath, s.cfg.Demo).ServeHTTP(w, r)
		return
	}
	http.Error(w, "nothing is here; WebSocket clients connect to "+s.cfg.BasePath+"/ws", http.StatusNotFound)
}

func live(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") }

// ready is for load balancers: an unready relay loses its clients, so losing Redis does not make it so unless asked.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	needsRedis := s.cfg.ReadyNeedsRedis || r.URL.Query().Get("redis") == "1"
	switch {
	case s.cfg.Stats.Draining.Load(), !s.cfg.Ready(), needsRedis && !s.cfg.Up():
		answer(w, http.StatusServiceUnavailable, "not ready")
	default:
		answer(w, http.StatusOK, "ok")
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

// refusals logs refused requests, a few a second at most: a hostile page must not fill the disk.
type refusals struct {
	logger *slog.Logger
	some   rate.Sometimes
}

func newRefusals(logger *slog.Logger) *refusals {
	return &refusals{logger: logger, some: rate.Sometimes{First: 10, Interval: time.Second}}
}

func (l *refusals) origin(r *http.Request, why error) {
	l.some.Do(func() {
		setting := "SIDECAST_ALLOWED_ORIGINS"
		if why == auth.ErrHost {
			setting = "SIDECAST_REDIS_URL"
		}
		l.logger.Warn("refused a page", "origin", r.Header.Get("Origin"), "host", r.Host, "setting", setting, "err", why)
	})
}
