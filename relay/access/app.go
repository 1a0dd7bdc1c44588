package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
)

// An App holds the credentials with which an application signs for clients of
// the Pusher protocol: its key is public, and the application and the relay share
// the secret. It is immutable.
type App struct {
	ID     string // in the URLs of the HTTP API; empty if there is none
	Key    string
	secret []byte
}

// NewApp returns the credentials of an application.
func NewApp(id, key, secret string) *App { return &App{ID: id, Key: key, secret: []byte(secret)} }

// A SocketNumber identifies a session to an application, for example to leave it
// out of a broadcast. It has 53 random bits, so that a script can hold it in a
// number; 0 stands for no session.
type SocketNumber uint64

// socketBits is the size of both parts of a socket id.
const socketBits = 53

// NewSocketNumber returns the number for random bytes, of which there are at
// least 8. No other session has it, at no relay.
func NewSocketNumber(random []byte) SocketNumber {
	return max(SocketNumber(binary.BigEndian.Uint64(random)>>(64-socketBits)), 1)
}

// SocketID returns the socket id of a session: its number, and a code that shows
// that a relay with the same secret has issued it.
func (a *App) SocketID(n SocketNumber) string {
	first := strconv.FormatUint(uint64(n), 10)
	return first + "." + strconv.FormatUint(a.socketCode(first), 10)
}

// ParseSocketID returns the number in a socket id, or false if no relay has
// issued the id.
func (a *App) ParseSocketID(id string) (SocketNumber, bool) {
	first, second, _ := strings.Cut(id, ".")
	n, err := strconv.ParseUint(first, 10, socketBits)
	if err != nil || n == 0 || first[0] == '0' {
		return 0, false
	}
	code := strconv.FormatUint(a.socketCode(first), 10)
	return SocketNumber(n), hmac.Equal([]byte(second), []byte(code))
}

// SocketNumberOf returns the number in a socket id without a check of its code,
// or 0.
func SocketNumberOf[T string | []byte](id T) (n SocketNumber) {
	for i := range len(id) {
		c := id[i]
		if c == '.' && i > 0 {
			return n
		}
		if c < '0' || c > '9' || n >= 1<<socketBits {
			break
		}
		n = 10*n + SocketNumber(c-'0')
	}
	return 0
}

// socketCode is the first 53 bits of the code of a socket's number.
func (a *App) socketCode(first string) uint64 {
	return binary.BigEndian.Uint64(a.mac(first)) >> (64 - socketBits)
}

// SignChannel returns what opens a channel to a session, as in
// https://pusher.com/docs/channels/library_auth_reference/auth-signatures/: the
// key, a colon, and the signature. data is the channel_data of a presence
// channel, or empty.
func (a *App) SignChannel(socketID, channel, data string) string {
	text := socketID + ":" + channel
	if data != "" {
		text += ":" + data
	}
	return a.Key + ":" + a.Sign(text)
}

// SignUser returns the signature with which a session signs in as the user whom
// userData describes.
func (a *App) SignUser(socketID, userData string) string {
	return a.Key + ":" + a.Sign(socketID+"::user::"+userData)
}

// Sign returns the signature of a text: HMAC-SHA256 in lower-case hex.
func (a *App) Sign(text string) string { return hex.EncodeToString(a.mac(text)) }

// Verify reports whether two signatures, or a key and a signature, are the same,
// in a time that does not depend on how much of them is.
func (a *App) Verify(presented, expected string) bool {
	return hmac.Equal([]byte(presented), []byte(expected))
}

func (a *App) mac(text string) []byte {
	h := hmac.New(sha256.New, a.secret)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// UserChannelPrefix begins the name of the channel of a user who has signed in.
const UserChannelPrefix = "#server-to-user-"

// A ChannelKind is the meaning of the prefix of a channel's name in the Pusher
// protocol.
type ChannelKind struct {
	Private   bool // it needs a signature; presence channels do, too
	Presence  bool // its members are known
	Cache     bool // a new subscriber first receives its last event
	Encrypted bool // the relay cannot read its events
	User      bool // it is the channel of one user
}

// KindOf returns the meaning of the prefix of a name.
func KindOf[T string | []byte](channel T) (k ChannelKind) {
	rest := channel
	switch {
	case hasPrefix(rest, UserChannelPrefix):
		return ChannelKind{User: true}
	case hasPrefix(rest, "private-"):
		k.Private, rest = true, rest[len("private-"):]
		if hasPrefix(rest, "encrypted-") {
			k.Encrypted, rest = true, rest[len("encrypted-"):]
		}
	case hasPrefix(rest, "presence-"):
		k.Private, k.Presence, rest = true, true, rest[len("presence-"):]
	}
	k.Cache = hasPrefix(rest, "cache-")
	return k
}

// Guarded reports whether the channel is never open to everyone.
func (k ChannelKind) Guarded() bool { return k.Private || k.User }
