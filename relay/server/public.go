package server

import (
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sidecast/relay/auth"
	"sidecast/relay/stats"
	"sidecast/relay/ws"
)

// A publicHandler serves the public listener.
type publicHandler struct {
	cfg       *Config
	proxyHint sync.Once // the log entry about a proxy that is not trusted
	// rejections limits log entries about rejected requests to the first 10,
	// and then one in each second, so that a hostile page cannot fill the disk.
	rejections rate.Sometimes
	missing    *missingPaths
}

func newPublicHandler(cfg *Config) *publicHandler {
	return &publicHandler{
		cfg: cfg, rejections: rate.Sometimes{First: 10, Interval: time.Second}, missing: newMissingPaths(cfg.BasePath),
	}
}

// routes returns the handler of all public paths.
func (h *publicHandler) routes() http.Handler {
	mux := http.NewServeMux()
	base := h.cfg.BasePath
	mux.Handle(base+"/ws", h.cfg.WS)
	if h.cfg.WS.HasApp() {
		mux.HandleFunc(base+"/app/{key}", h.cfg.WS.ServePusher)
	}
	if h.cfg.SSE != nil {
		mux.Handle(base+"/sse", h.cfg.SSE)
	}
	if h.cfg.API != nil {
		mux.Handle(base+"/apps/", h.cfg.API)
	}
	mux.HandleFunc(base+"/{$}", h.page)
	mux.HandleFunc("/", h.page)
	for name, file := range h.cfg.Files {
		mux.Handle(base+"/"+name, file)
	}
	prefixes := []string{""}
	if base != "" {
		prefixes = append(prefixes, base)
	}
	if h.cfg.BroadcastAuth != nil {
		for _, prefix := range prefixes {
			mux.Handle(prefix+h.cfg.BroadcastPath, h.cfg.BroadcastAuth)
		}
	}
	for _, prefix := range prefixes {
		mux.HandleFunc("GET "+prefix+"/livez", live)
		mux.HandleFunc("GET "+prefix+"/readyz", h.ready)
	}
	return h.originCheck(h.handshakes(mux))
}

// handshakes serves WebSocket handshakes at `/ws` and also at the root, for
// `new WebSocket("ws://host")`, which has no path. It ignores doubled and final
// slashes: a mux would redirect such paths, and a WebSocket client cannot
// follow.
func (h *publicHandler) handshakes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws.IsUpgrade(r) && h.isEndpoint(r.URL.Path) {
			h.cfg.WS.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isEndpoint reports whether WebSocket clients can connect to a path.
func (h *publicHandler) isEndpoint(of string) bool {
	below, ok := strings.CutPrefix(path.Clean(of), h.cfg.BasePath)
	return ok && (below == "" || below == "/" || below == "/ws")
}

// takesHandshakes reports whether a path is one of WebSocket clients, those of
// the Pusher protocol included.
func (h *publicHandler) takesHandshakes(path string) bool {
	return h.isEndpoint(path) || strings.HasPrefix(path, h.cfg.BasePath+"/app/")
}

// originCheck rejects pages of foreign origins before next handles the request.
// Health probes pass: they have no origin, and their host can be any IP
// address. So do requests for files that every page may load.
func (h *publicHandler) originCheck(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if peer, ok := h.cfg.Proxies.UntrustedForwarder(r); ok {
			h.proxyHint.Do(func() {
				h.cfg.Logger.Warn(
					"X-Forwarded-For ignored: the peer is not a trusted proxy; if it is your proxy, add it to SIDECAST_TRUSTED_PROXIES",
					"peer", peer, "setting", "SIDECAST_TRUSTED_PROXIES")
			})
		}
		if err := h.cfg.Origins.Check(r); err != nil && !isProbe(r) && !h.isFile(r) {
			err = h.cfg.Origins.Explain(r, err)
			h.cfg.Refusals.Count(stats.RejectOrigin)
			h.logRejection(r, err)
			if r.ProtoMajor == 1 {
				w.Header().Set("Connection", "close")
			}
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isProbe(r *http.Request) bool {
	return (r.URL.Path == "/livez" || r.URL.Path == "/readyz") && r.Header.Get("Origin") == ""
}

// isFile reports whether a request is for one of the files of the
// configuration.
func (h *publicHandler) isFile(r *http.Request) bool {
	name, below := strings.CutPrefix(r.URL.Path, h.cfg.BasePath+"/")
	return below && h.cfg.Files[name] != nil
}

// page serves the demo page if there is one.
func (h *publicHandler) page(w http.ResponseWriter, r *http.Request) {
	missing := h.missing.of(r.URL.Path, h.cfg.BasePath, h.cfg.WS.HasApp())
	inBase := missing == &h.missing.usual && strings.HasPrefix(r.URL.Path, h.cfg.BasePath+"/")
	if h.cfg.Demo != nil && inBase && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		http.StripPrefix(h.cfg.BasePath, h.cfg.Demo).ServeHTTP(w, r)
		return
	}
	h.cfg.Refusals.Add(&missing.problem, h.cfg.Proxies.Client(r).String())
	missing.answerTo(w)
}

// ready answers load balancers. A relay that is not ready loses its clients, so
// it stays ready without Redis unless the setting or the request says
// otherwise.
func (h *publicHandler) ready(w http.ResponseWriter, r *http.Request) {
	if why := h.whyNotReady(r); why != "" {
		answerProbe(w, http.StatusServiceUnavailable, "not ready: "+why)
		return
	}
	answerProbe(w, http.StatusOK, "ok")
}

// whyNotReady returns why the relay is not ready, or "" if it is. The public
// listener shows it to everyone, so it has no address and no error of Redis.
func (h *publicHandler) whyNotReady(r *http.Request) string {
	switch {
	case h.cfg.Stats.Draining.Load():
		return "the relay is stopping"
	case !h.cfg.Ready():
		return "Redis has not confirmed all subscriptions yet; see the log, or run `sidecast check`"
	case (h.cfg.ReadyNeedsRedis || r.URL.Query().Get("redis") == "1") && !h.cfg.Up():
		return "the connection to Redis is lost"
	}
	return ""
}

func live(w http.ResponseWriter, _ *http.Request) { answerProbe(w, http.StatusOK, "ok") }

func answerProbe(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

func (h *publicHandler) logRejection(r *http.Request, why error) {
	h.rejections.Do(func() {
		setting := "SIDECAST_ALLOWED_ORIGINS"
		switch why {
		case auth.ErrHost:
			setting = "SIDECAST_REDIS_URL"
		case auth.ErrProxyUntrusted:
			setting = "SIDECAST_TRUSTED_PROXIES"
		}
		h.cfg.Logger.Warn("request rejected by the origin check",
			"remote", h.cfg.Proxies.Client(r).String(), "origin", r.Header.Get("Origin"), "host", r.Host, "setting", setting, "err", why)
	})
}
