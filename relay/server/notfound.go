package server

import (
	"net/http"
	"strings"

	"sidecast/relay/accept"
	"sidecast/relay/stats"
)

// A missingPath answers requests for a path that the relay does not serve.
type missingPath struct {
	answer  string
	problem accept.Problem
}

func (p *missingPath) answerTo(w http.ResponseWriter) { http.Error(w, p.answer, http.StatusNotFound) }

// missingPaths are answers that lead from the paths of other servers to what works
// here.
type missingPaths struct {
	usual, noPusher, base, broadcast, sockjs, socketio missingPath
}

func newMissingPaths(base string) *missingPaths {
	path := func(answer, text, do string) missingPath {
		return missingPath{answer, accept.Problem{Reason: stats.RejectNotFound, Text: text, Do: do}}
	}
	const webSocketOnly = "let the page use WebSocket only: enabledTransports: ['ws', 'wss']"
	const reverb = "let the page use pusher-js and broadcaster: 'reverb' instead of socket.io"
	return &missingPaths{
		usual: path(
			"no page at this path; clients connect to "+base+"/ws or "+base+"/sse",
			"a request for a path that the relay does not serve",
			"let clients connect to "+base+"/ws or "+base+"/sse; if the URL is right, check the paths in your proxy's configuration"),
		noPusher: path(
			"this relay does not speak the Pusher protocol: set SIDECAST_PUSHER_KEY and SIDECAST_PUSHER_SECRET to the key and the "+
				"secret of your application, and restart it",
			"a request of the Pusher protocol, but SIDECAST_PUSHER_KEY is unset",
			"set SIDECAST_PUSHER_KEY and SIDECAST_PUSHER_SECRET to REVERB_APP_KEY and REVERB_APP_SECRET, or PUSHER_APP_KEY and "+
				"PUSHER_APP_SECRET, of your application"),
		base: path(
			"the paths of the Pusher protocol begin with "+base+" here: set wsPath: '"+base+"' in the page, and the option path in the application",
			"a request of the Pusher protocol without SIDECAST_BASE_PATH",
			"set wsPath: '"+base+"' in the options of Laravel Echo or pusher-js, and 'path' => '"+base+"' in the options of the "+
				"application's connection; or let the proxy add the prefix"),
		broadcast: path(
			"this relay does not sign channels: set SIDECAST_BROADCAST_AUTH_URL to the URL of this path in your application, and restart it; "+
				"or let your web server forward the path to the application",
			"a request for the signature of a channel, but SIDECAST_BROADCAST_AUTH_URL is unset",
			"set it if the application has BROADCAST_CONNECTION=redis; otherwise let your web server forward the path to the application"),
		sockjs: path(
			"this relay has no SockJS: "+webSocketOnly,
			"a request of SockJS, to which pusher-js resorts if WebSocket fails",
			webSocketOnly+"; if WebSocket fails behind a proxy, let it pass the header Upgrade"),
		socketio: path(
			"this relay has no socket.io: "+reverb,
			"a request of socket.io, as of a page that was made for laravel-echo-server",
			reverb+": see relay/pusher/README.md, Moving from another server"),
	}
}

// of returns the answer for a path.
func (m *missingPaths) of(path, base string, pusher bool) *missingPath {
	below, inBase := strings.CutPrefix(path, base)
	isPusher := strings.HasPrefix(below, "/app/") || strings.HasPrefix(below, "/apps/")
	switch {
	case strings.HasPrefix(below, "/socket.io/"):
		return &m.socketio
	case strings.HasPrefix(below, "/pusher/app/"):
		return &m.sockjs
	case strings.HasSuffix(path, "/broadcasting/auth"):
		return &m.broadcast
	case isPusher && !pusher:
		return &m.noPusher
	case isPusher && !inBase:
		return &m.base
	}
	return &m.usual
}
