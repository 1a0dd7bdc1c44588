package pusher

import (
	"context"
	"net/http"
	"strings"
	"time"

	"sidecast/relay/accept"
	"sidecast/relay/access"
	"sidecast/relay/auth"
	"sidecast/relay/protocol"
	"sidecast/relay/transport"
)

// BroadcastConfig holds the dependencies of a [BroadcastAuth].
type BroadcastConfig struct {
	App *access.App

	// Relayed returns [protocol.CodeOK] for the name of a channel that is
	// relayed.
	Relayed func(channel string) protocol.Code

	// Authorize asks the application, like [auth.Application.AuthorizeBroadcast].
	Authorize func(ctx context.Context, r *http.Request, socketID, channel string) (channelData string, code protocol.Code)

	Refusals *accept.Refusals
	Remote   func(*http.Request) string // the client's address, for the log
}

// A BroadcastAuth answers the requests with which clients of the Pusher protocol
// ask for the signature of a private or presence channel. Its caller checks the
// origin first.
type BroadcastAuth struct{ cfg BroadcastConfig }

// NewBroadcastAuth returns a handler for the path at which clients expect their
// application.
func NewBroadcastAuth(cfg BroadcastConfig) *BroadcastAuth { return &BroadcastAuth{cfg: cfg} }

// clientHeaders are the headers that Laravel Echo and the libraries below it
// send to the application.
var clientHeaders = []string{
	"Authorization", "Content-Type", "X-CSRF-TOKEN", "X-Requested-With", "X-Socket-ID", "X-XSRF-TOKEN",
}

// ServeHTTP answers one request, or the preflight request for it. It may wait
// for the application.
func (b *BroadcastAuth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
	transport.AllowOrigin(w, r)
	if r.Method == http.MethodOptions {
		transport.AnswerPreflight(w, []string{http.MethodGet, http.MethodPost}, clientHeaders)
		return
	}
	signed, refused := b.authorize(w, r)
	if refused != nil {
		b.refuse(w, r, refused)
		return
	}
	writeJSON(w, http.StatusOK, signed)
}

// A signature is the answer to a client. ChannelData is the text that was
// signed, byte for byte.
type signature struct {
	Auth        string `json:"auth"`
	ChannelData string `json:"channel_data,omitempty"`
}

// authorize returns the signature, or why it is refused.
func (b *BroadcastAuth) authorize(w http.ResponseWriter, r *http.Request) (signature, *broadcastRefusal) {
	if r.Header.Get(auth.ForwardedHeader) != "" {
		return signature{}, loop
	}
	q, refused := readQuestion(w, r)
	if refused == nil {
		refused = b.check(q)
	}
	if refused != nil {
		return signature{}, refused
	}
	data, code := b.cfg.Authorize(r.Context(), r, q.SocketID, q.Channel)
	switch code {
	case protocol.CodeOK:
		return signature{Auth: b.cfg.App.SignChannel(q.SocketID, q.Channel, data), ChannelData: data}, nil
	case protocol.CodeUnavailable:
		return signature{}, tryLater
	}
	return signature{}, forbidden
}

// check refuses questions about which the application need not be asked.
func (b *BroadcastAuth) check(q question) *broadcastRefusal {
	if _, ok := b.cfg.App.ParseSocketID(q.SocketID); !ok {
		return strangeSocket
	}
	switch kind := access.KindOf(q.Channel); {
	case kind.Encrypted:
		return encrypted
	case !kind.Private:
		return notGuarded
	case strings.Contains(q.Channel, ":{"):
		return invalidName // in the text that is signed, it would look like another channel with channel_data
	}
	switch b.cfg.Relayed(q.Channel) {
	case protocol.CodeOK:
		return nil
	case protocol.CodeBadChannel:
		return invalidName
	}
	return notRelayed
}

// answerTime bounds a request from its headers to the end of the answer. It is
// longer than the server's limit, because the application may need ten seconds,
// or a request to the API may wait for its turn, for its body, and for Redis.
const answerTime = 20 * time.Second

// refuse answers a request that gets no signature. Refusals of the application
// are its own business, so they are not logged.
func (b *BroadcastAuth) refuse(w http.ResponseWriter, r *http.Request, why *broadcastRefusal) {
	if why.problem != nil {
		b.cfg.Refusals.Add(why.problem, b.cfg.Remote(r))
	}
	switch why.status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", "GET, OPTIONS, POST")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	}
	writeJSON(w, why.status, struct {
		Message string `json:"message"`
	}{why.text})
}
