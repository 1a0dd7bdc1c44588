package pusher

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"sidecast/relay/stats"
)

const (
	// clockSkew is how many seconds the application's clock may be wrong. A
	// request can be repeated by someone who has seen it for as long.
	clockSkew = 600
	// besidePayload is how much larger than the largest message a body may be:
	// it also has the names of up to 100 channels, which may be escaped.
	besidePayload = 128 << 10
)

// authenticate returns the query of a request if the application has signed
// it. It does not read the body, whose digest is in the query.
func (a *api) authenticate(r *http.Request) (map[string]string, *refusal) {
	query, ok := parseQuery(r.URL.RawQuery)
	if !ok {
		return nil, errQuery
	}
	signature, now := query["auth_signature"], a.Now().Unix()
	if signature == "" || query["auth_key"] == "" || query["auth_timestamp"] == "" || query["auth_version"] != "1.0" {
		return nil, errUnsigned
	}
	if !a.App.Verify(query["auth_key"], a.App.Key) {
		return nil, errKey
	}
	at, err := strconv.ParseInt(query["auth_timestamp"], 10, 64)
	if err != nil || at < now-clockSkew || at > now+clockSkew {
		return nil, errClock
	}
	text := signedQuery(query)
	for _, path := range a.paths(r.URL) {
		if a.App.Verify(signature, a.App.Sign(r.Method+"\n"+path+"\n"+text)) {
			return query, nil
		}
	}
	return nil, errSignature
}

// parseQuery returns the parameters of a query by their names in lower case. It
// returns false if two requests with different parameters could have the same
// text to sign, in which nothing is escaped.
func parseQuery(raw string) (map[string]string, bool) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, false
	}
	query := make(map[string]string, len(values))
	for name, list := range values {
		lower := strings.ToLower(name)
		if _, exists := query[lower]; exists || len(list) > 1 || strings.ContainsAny(name, "&=") || strings.Contains(list[0], "&") {
			return nil, false
		}
		query[lower] = list[0]
	}
	return query, true
}

// signedQuery returns the part of the signed text that describes the query.
func signedQuery(query map[string]string) string {
	var text []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if name != "auth_signature" {
			text = append(text, name+"="+query[name])
		}
	}
	return strings.Join(text, "&")
}

// paths returns the texts that an application may have signed as the path:
// libraries differ in whether they sign it escaped, and whether the path that
// is set next to the host is part of it.
func (a *api) paths(u *url.URL) []string {
	list := []string{u.EscapedPath()}
	// An escaped slash or line break must not become another path or query, and
	// what is signed escaped as `a%20b` is not the name that is sent as `a%2520b`.
	again, err := url.PathUnescape(u.Path)
	if strings.Count(u.Path, "/") == strings.Count(u.EscapedPath(), "/") && !strings.ContainsFunc(u.Path, unicode.IsControl) &&
		(err != nil || again == u.Path) {
		list = append(list, u.Path)
	}
	for _, path := range list {
		list = append(list, strings.TrimPrefix(path, a.BasePath))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// body returns the body of a request, which must have the digest that was
// signed.
func (a *api) body(w http.ResponseWriter, r *http.Request, digest string) ([]byte, *refusal) {
	body, refused := a.readBody(w, r)
	if refused != nil {
		return nil, refused
	}
	sum := md5.Sum(body) // as the protocol says; the signature protects it
	switch {
	case digest == "" && len(body) > 0:
		return nil, errNoDigest
	case digest != "" && !a.App.Verify(digest, hex.EncodeToString(sum[:])):
		return nil, errDigest
	}
	return body, nil
}

// maxBody is how large a body may be, in bytes.
func (a *api) maxBody() int64 { return int64(a.MaxPayload) + besidePayload }

func (a *api) readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	limit := a.maxBody()
	refused := tooLarge("the body is larger than %d bytes, which is SIDECAST_MAX_PAYLOAD_BYTES and 128 KiB", limit)
	if r.ContentLength > limit {
		return nil, refused
	}
	var body bytes.Buffer
	body.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead)
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	if _, exceeded := errors.AsType[*http.MaxBytesError](err); exceeded {
		return nil, refused
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &refusal{status: http.StatusRequestTimeout, result: stats.APIInvalid, problem: "the body did not arrive in time"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, invalid("the body is shorter than announced")
	case err != nil:
		return nil, invalid("the body cannot be read")
	}
	return body.Bytes(), nil
}
