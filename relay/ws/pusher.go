package ws

import (
	"net/http"
	"strconv"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// ServePusher serves the handshake of a client of the Pusher protocol, to which
// the path of the request gives the value `key`. The client is anonymous: what
// its application has signed opens channels to it, and [Config.AskFor].
func (h *Handler) ServePusher(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, h.pusher)
}

// HasApp reports whether there is an application whose clients speak the Pusher
// protocol.
func (h *Handler) HasApp() bool { return h.cfg.App != nil }

// isPusher reports whether the client speaks the Pusher protocol.
func (hs *handshake) isPusher() bool { return hs.codec.protocol.ID() == protocol.PusherID }

// delayed returns the code to close a client with that is not admitted. A client
// of the Pusher protocol reconnects at once after the code for a restart: so this
// relay, which may still be the only one that it reaches, sends it another one.
func (hs *handshake) delayed(code protocol.CloseCode) protocol.CloseCode {
	if hs.isPusher() && code == protocol.CloseRestart {
		return protocol.CloseTryLater
	}
	return code
}

// admitPusher checks the URL of a client of the Pusher protocol, and returns the
// code to close it with or 0.
func (h *Handler) admitPusher(r *http.Request) (access.Principal, protocol.CloseCode) {
	var principal access.Principal
	if !h.HasApp() || r.PathValue("key") != h.cfg.App.Key {
		return principal, protocol.CloseUnknownApp
	}
	version, err := strconv.Atoi(r.URL.Query().Get("protocol"))
	if r.URL.Query().Has("protocol") && (err != nil || version < protocol.MinPusherVersion || version > protocol.MaxPusherVersion) {
		return principal, protocol.CloseVersion
	}
	if h.cfg.AskFor != nil {
		principal.Ask = h.cfg.AskFor(r)
	}
	return principal, 0
}
