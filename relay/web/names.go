package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
)

// Names invents users for visitors of the demo page, so that they see each other
// online. A visitor gets a pass, which a relay with the same Names accepts as a
// login that grants nothing but the name. A nil Names accepts nothing.
type Names struct{ secret []byte }

// NewNames returns Names whose passes no other relay accepts, and not this one
// after a restart either.
func NewNames() *Names { return &Names{[]byte(rand.Text())} }

// passPrefix distinguishes a pass from a token.
const passPrefix = "demo."

var (
	nameFirst = strings.Fields("amber brave calm clever eager gentle golden happy keen lively lucky merry proud quick quiet silver")
	nameLast  = strings.Fields("badger beaver crane falcon ferret finch heron lynx marten otter owl puffin raven robin stoat swift")
)

// invent returns a pass for a random name.
func (n *Names) invent() string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	number := binary.BigEndian.Uint16(random[2:])
	name := fmt.Sprintf("%s-%s-%d", nameFirst[random[0]%16], nameLast[random[1]%16], 10+number%90)
	return passPrefix + name + "." + n.sign(name)
}

// sign returns the signature of a name.
func (n *Names) sign(name string) string {
	mac := hmac.New(sha256.New, n.secret)
	mac.Write([]byte(name))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// User returns the user of a pass, or "" if the pass is that of another relay.
// isPass reports whether the text is a pass at all.
func (n *Names) User(text string) (user string, isPass bool) {
	rest, isPass := strings.CutPrefix(text, passPrefix)
	if n == nil || !isPass {
		return "", false
	}
	name, signature, _ := strings.Cut(rest, ".")
	if !hmac.Equal([]byte(signature), []byte(n.sign(name))) {
		return "", true
	}
	return name, true
}

// ServeHTTP answers with a new pass. Only the page itself gets one: other pages
// cannot read the answer, and browsers say whose the request is.
func (n *Names) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		http.Error(w, "only the demo page gets a name here", http.StatusForbidden)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(n.invent()))
}
