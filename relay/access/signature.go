package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// A Signature opens one channel to the client that presents it: the application
// signed the channel, the user and the time at which that ends.
type Signature struct {
	Sig  string // "<unix seconds>.<HMAC-SHA256 in lower-case hex>"; empty: the client presents no signature
	User string // the user that was signed; empty: the signature is for every client
}

// ChannelSecrets verify signatures. They are immutable.
type ChannelSecrets struct{ secrets []string }

// NewChannelSecrets returns the secrets that an application signs with: the
// current one, and others that are still accepted.
func NewChannelSecrets(current string, others ...string) *ChannelSecrets {
	return &ChannelSecrets{secrets: append([]string{current}, others...)}
}

// maxExpiry is the number of digits that an expiry has at most.
const maxExpiry = 11

// Sign returns the Sig for a channel that is open to a user, or to all clients
// if user is empty, until a time.
func (s *ChannelSecrets) Sign(channel, user string, until time.Time) string {
	expiry := strconv.FormatInt(until.Unix(), 10)
	return expiry + "." + mac(s.secrets[0], expiry, user, channel)
}

// Verify returns the time at which the signature for a channel expires, which
// may be in the past. ok is false if the application has not signed exactly this
// channel and user. The time that Verify takes does not depend on how much of
// the signature is right.
func (s *ChannelSecrets) Verify(channel string, signature Signature) (until time.Time, ok bool) {
	expiry, signed, _ := strings.Cut(signature.Sig, ".")
	seconds, err := strconv.ParseUint(expiry, 10, 63)
	// A user with a line break could stand for another user and channel.
	if err != nil || len(expiry) > maxExpiry || !ValidChannel(channel) || signature.User != "" && !ValidUser(signature.User) {
		return time.Time{}, false
	}
	same := 0
	for _, secret := range s.secrets {
		same |= subtle.ConstantTimeCompare([]byte(mac(secret, expiry, signature.User, channel)), []byte(signed))
	}
	return time.Unix(int64(seconds), 0), same == 1
}

// mac returns the code of a signature. The names contain no line break, so the
// three are unambiguous.
func mac(secret, expiry, user, channel string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(expiry + "\n" + user + "\n" + channel))
	return hex.EncodeToString(h.Sum(nil))
}

// SignaturesInURL returns the signatures of a URL that names channels, by
// channel: the n-th sig and the n-th user belong to the n-th channel. It
// returns false if there are more of them than channels.
func SignaturesInURL(channels, sigs, users []string) (map[string]Signature, bool) {
	if max(len(sigs), len(users)) > len(channels) {
		return nil, false
	}
	var all map[string]Signature
	for i, sig := range sigs {
		if _, known := all[channels[i]]; known || sig == "" {
			continue
		}
		if all == nil {
			all = make(map[string]Signature, len(sigs))
		}
		signature := Signature{Sig: sig}
		if i < len(users) {
			signature.User = users[i]
		}
		all[channels[i]] = signature
	}
	return all, true
}
