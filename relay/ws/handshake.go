package ws

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// Headers as net/http keeps them in its maps, which differs from RFC 6455. With
// any other spelling, net/http allocates memory for each lookup.
const (
	headerKey        = "Sec-Websocket-Key"
	headerVersion    = "Sec-Websocket-Version"
	headerProtocol   = "Sec-Websocket-Protocol"
	headerConnection = "Connection"
	headerUpgrade    = "Upgrade"
)

// A handshake is a request that becomes a connection. Handshakes are pooled: as
// a local variable, a handshake would make the stack of each request's
// goroutine grow. Nothing refers to a handshake after its connection has
// started.
type handshake struct {
	codec   *codec
	token   *string // offered as a subprotocol; nil without a token
	address netip.Addr
	client  relay.Client
	join    joinRequest
}

var handshakes = sync.Pool{New: func() any { return new(handshake) }}

// A joinRequest lists the channels that a client requests in its handshake. A
// raw client names its channels in its URL; other clients subscribe on the
// connection.
type joinRequest struct {
	channels []string
	own      bool // also the channels of the client's identity
}

// requests returns a request for each of the channels.
func (hs *handshake) requests(hub *relay.Hub) []protocol.ChannelRequest {
	list := make([]protocol.ChannelRequest, len(hs.join.channels))
	for i, channel := range hs.join.channels {
		list[i].Channel, list[i].Last = channel, hub.Newest(hs.client.Last, channel)
	}
	return list
}

// IsUpgrade reports whether a request is meant as a WebSocket handshake, valid
// or not.
func IsUpgrade(r *http.Request) bool {
	return hasToken(r.Header, headerUpgrade, "websocket") || r.Header.Get(headerKey) != ""
}

// validate checks the handshake (RFC 6455 section 4.2.1), and sets the codec
// and the token.
func (hs *handshake) validate(r *http.Request, codecs map[string]*codec) *httpError {
	if r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor < 1 ||
		!hasToken(r.Header, headerUpgrade, "websocket") || !hasToken(r.Header, headerConnection, "upgrade") {
		if r.Method == http.MethodGet && r.Header.Get(headerKey) != "" {
			return withoutUpgrade(r)
		}
		return noUpgrade(r)
	}
	if r.Header.Get(headerVersion) != "13" {
		return wrongVersion
	}
	if keys := r.Header[headerKey]; len(keys) != 1 || !validKey(keys[0]) {
		return wrongKey
	}
	if r.ContentLength != 0 {
		return hasBody
	}
	if hs.codec != nil {
		return nil // whatever subprotocols the client offers
	}
	return hs.negotiate(r.Header[headerProtocol], codecs)
}

// canonicalize replaces headers of a valid handshake whose values are lists.
// The library reads only the first header of a name, and takes some of them for
// a single value.
func (hs *handshake) canonicalize(header http.Header) {
	header[headerConnection], header[headerUpgrade] = connectionUpgrade, upgradeWebSocket
	if hs.codec.name != "" {
		header.Set(headerProtocol, hs.codec.name)
	}
}

// Headers of each handshake that the library receives.
var connectionUpgrade, upgradeWebSocket = []string{"Upgrade"}, []string{"websocket"}

// negotiate selects the first offered subprotocol that the relay supports, or
// "" if the client offers no subprotocol; empty names do not count. A token
// alone is not enough: a browser closes a connection if the response selects
// none of the subprotocols that it offered.
func (hs *handshake) negotiate(lines []string, codecs map[string]*codec) *httpError {
	offered := false
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.TrimSpace(name)
			offered = offered || name != ""
			if token, ok := strings.CutPrefix(name, protocol.TokenPrefix); ok {
				if hs.token != nil {
					return severalTokens
				}
				hs.token = &token
			} else if known := codecs[name]; known != nil && name != "" && hs.codec == nil {
				hs.codec = known
			}
		}
	}
	if !offered {
		hs.codec = codecs[""]
	}
	if hs.codec == nil {
		return unknownSubprotocol
	}
	return nil
}

// readJoin reads the URL of a raw client, or returns the code to close the
// client with. If the URL names channels, the client requests exactly those;
// otherwise it requests the default channels and those of its identity.
func (hs *handshake) readJoin(r *http.Request, defaults []string) protocol.CloseCode {
	join, id := &hs.join, hs.client.Identity
	if hs.codec.protocol.ID() != protocol.RawID {
		join.own = true
		return 0
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return protocol.ClosePolicy.Because(protocol.ReasonQuery)
	}
	hs.client.PublishTo = strings.Clone(query.Get("publish")) // the URL may be long, and contain a token
	hs.client.NoEcho = query.Get("echo") == "false"
	hs.client.GapClose = query.Get("gap") == "close"
	hs.client.Last = relay.LastBySetting
	if query.Has("last") {
		last, ok := protocol.ParseLast(query.Get("last"))
		if !ok {
			return protocol.ClosePolicy.Because(protocol.ReasonLast)
		}
		hs.client.Last = last
	}
	join.channels = query["channel"]
	var ok bool
	if hs.client.Signatures, ok = access.SignaturesInURL(join.channels, query["sig"], query["user"]); !ok {
		return protocol.ClosePolicy.Because(protocol.ReasonSignatures)
	}
	if len(join.channels) == 0 {
		join.channels, join.own = defaults, true
	}
	if hs.client.PublishTo == "" && len(join.channels) == 1 {
		hs.client.PublishTo = join.channels[0]
	}
	if join.own && id != nil {
		join.channels = slices.Concat(join.channels, id.Join) // all channels that a token names must be permitted
	}
	if len(join.channels) == 0 && (id == nil || len(id.Own) == 0) {
		return protocol.ClosePolicy.Because(protocol.ReasonNoChannel)
	}
	return 0
}

// validKey reports whether key is 16 bytes in base64.
func validKey(key string) bool {
	var bytes [18]byte
	if len(key) != base64.StdEncoding.EncodedLen(16) {
		return false
	}
	n, err := base64.StdEncoding.Decode(bytes[:], []byte(key))
	return err == nil && n == 16
}

// hasToken reports whether a comma-separated header contains token, in upper or
// lower case.
func hasToken(header http.Header, name, token string) bool {
	for _, line := range header.Values(name) {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}
