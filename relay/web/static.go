package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// static returns a handler that serves constant content, compressed if the
// client accepts that.
func static(contentType string, content []byte) http.Handler {
	sum := sha256.Sum256(content)
	tag, compressed := hex.EncodeToString(sum[:12]), compress(content)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are allowed here", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Security-Policy", contentSecurityPolicy(r.Host))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache") // browsers may store it, but must revalidate it before each use
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r) {
			h.Set("Content-Encoding", "gzip")
			h.Set("Etag", `"`+tag+`-gzip"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(compressed))
			return
		}
		h.Set("Etag", `"`+tag+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}

func compress(content []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is valid
	_, _ = w.Write(content)                               // writes to memory never fail
	_ = w.Close()
	return b.Bytes()
}

// acceptsGzip reports whether a client accepts gzip (RFC 9110 section 12.5.3).
func acceptsGzip(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(coding, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				return !refused.MatchString(weight)
			}
		}
	}
	return false
}

// refused matches a weight of zero.
var refused = regexp.MustCompile(`^\s*q\s*=\s*0(\.0*)?\s*$`)

// plainHost matches a Host that may appear in a content security policy. IPv6
// addresses may not.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$`)

// contentSecurityPolicy allows the page to load files from its own host and to
// connect to it, and prevents scripts from turning text into markup. It names
// the WebSocket URLs of host because older browsers do not treat them as
// 'self'.
func contentSecurityPolicy(host string) string {
	connect := "'self'"
	if plainHost.MatchString(host) {
		connect += " ws://" + host + " wss://" + host
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " + connect +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" +
		"; require-trusted-types-for 'script'; trusted-types 'none'"
}
