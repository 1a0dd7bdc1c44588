package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"sidecast/relay/loopback"
)

// Bounds on a set of keys.
const (
	jwksMaxBytes = 256 << 10
	jwksMaxKeys  = 64
	jwksTimeout  = 5 * time.Second
	jwksRefresh  = 10 * time.Minute // a key that the issuer has removed is accepted for up to this long
	jwksRetry    = 10 * time.Second // after a failed fetch; also the time between fetches for unknown keys
	jwksMaxAge   = 24 * time.Hour   // keys that could not be refreshed for this long are no longer accepted
)

// doKeys is the advice about an answer that is not a set of keys.
const doKeys = "check that the URL serves a set of keys (JWKS)"

// A jwks is the set of keys at one URL (RFC 7517). It is the only source of
// keys: of the keys and URLs in a token's header, only the key's id (kid) is
// used. It is safe for concurrent use.
type jwks struct {
	url        string
	client     *http.Client
	group      singleflight.Group
	fetchLimit *rate.Limiter // of fetches for tokens with an unknown key

	mu      sync.RWMutex
	byID    map[string][]jwt.VerificationKey
	all     []jwt.VerificationKey
	fetched time.Time
}

// JWKS verifies tokens with the set of public keys at a URL. The scheme must be
// https, or http if the host is the loopback interface. [Tokens.Run] fetches
// the keys regularly, and they are also fetched when a token names an unknown
// key, if the last fetch is at least 10 seconds old.
func JWKS(address string) (*Keys, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback.Host(u.Hostname())) {
		return nil, errors.New("the URL of the keys must begin with https://; http:// is allowed for localhost only")
	}
	s := newJWKS(address)
	return &Keys{algorithms: Algorithms[3:], find: s.find, update: s.update, run: s.run}, nil
}

func newJWKS(address string) *jwks {
	return &jwks{url: address, client: newHTTPClient(1), fetchLimit: rate.NewLimiter(rate.Every(jwksRetry), 2)}
}

// run fetches the keys immediately and then regularly until ctx ends.
func (s *jwks) run(ctx context.Context, logger *slog.Logger) error {
	for {
		wait := jwksRefresh
		if err := s.fetch(ctx); err != nil && ctx.Err() == nil {
			reason, do := explain(withAdvice(err, doKeys))
			logger.Warn("fetching the keys for tokens failed; retrying in 10 s",
				"setting", "SIDECAST_JWT_JWKS_URL", "reason", reason, "do", do)
			wait = jwksRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// find returns the stored keys with the id kid, or all keys if kid is empty.
func (s *jwks) find(kid string) ([]jwt.VerificationKey, error) {
	keys, known := s.lookup(kid)
	switch {
	case len(keys) > 0:
		return keys, nil
	case known:
		return nil, errKeyUnknown
	}
	return nil, errKeysUnavailable
}

// update fetches the keys because a token names an unknown one. It does nothing
// if the stored keys are recent: otherwise every client with a token of a
// retired key would cause a fetch. All callers at the same time wait for the
// same fetch, whatever the limit, because its result may contain their keys.
func (s *jwks) update(ctx context.Context) {
	if s.isRecent() {
		return
	}
	s.share(ctx, "update", func() error {
		if !s.fetchLimit.Allow() {
			return nil
		}
		return s.fetch(context.Background())
	})
}

// isRecent reports whether the keys have just been fetched.
func (s *jwks) isRecent() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return !s.fetched.IsZero() && time.Since(s.fetched) < jwksRetry
}

// lookup returns the stored keys with the id kid, or all if kid is empty. known
// is false if there are no keys yet, or only outdated ones.
func (s *jwks) lookup(kid string) (keys []jwt.VerificationKey, known bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fetched.IsZero() || time.Since(s.fetched) > jwksMaxAge {
		return nil, false
	}
	if kid == "" {
		return s.all, true
	}
	return s.byID[kid], true
}

// fetch fetches the keys. Callers at the same time share one request, which
// continues if the context of a caller ends.
func (s *jwks) fetch(ctx context.Context) error {
	return s.share(ctx, "fetch", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), jwksTimeout)
		defer cancel()
		return s.refresh(ctx)
	})
}

// share calls f, once for all callers at the same time with the same name.
func (s *jwks) share(ctx context.Context, name string, f func() error) error {
	done := s.group.DoChan(name, func() (any, error) { return nil, f() })
	select {
	case <-ctx.Done():
		return ctx.Err()
	case result := <-done:
		return result.Err
	}
}

func (s *jwks) refresh(ctx context.Context) error {
	r, err := httpGet(ctx, s.client, s.url, http.Header{"Accept": {"application/json"}}, jwksMaxBytes)
	switch {
	case errors.Is(err, errAnswerTimeout): // whose advice is about the application
		return &problem{text: errAnswerTimeout.text, do: "look for what delays the server: Sidecast waits for 5 s"}
	case err != nil:
		return err
	case r.misdirected != nil:
		return r.misdirected
	case r.status >= 300 && r.status <= 399:
		return &problem{
			text: "the URL redirects elsewhere: HTTP status " + strconv.Itoa(r.status),
			do:   "write the URL that serves the keys: Sidecast does not follow redirects",
		}
	case r.status != http.StatusOK:
		return statusProblem(r.status, doKeys)
	}
	byID, all, err := parseKeys(r.body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID, s.all, s.fetched = byID, all, time.Now()
	return nil
}

// parseKeys parses a set of keys. It ignores keys that must not verify tokens,
// and returns an error if no key remains.
func parseKeys(body []byte) (byID map[string][]jwt.VerificationKey, all []jwt.VerificationKey, err error) {
	set, err := parseObject(body)
	if err != nil {
		return nil, nil, err
	}
	var list []json.RawMessage
	if !set.has("keys") || json.Unmarshal(set.members["keys"], &list) != nil {
		return nil, nil, &problem{text: "keys is missing or not a list"}
	}
	if len(list) > jwksMaxKeys {
		return nil, nil, &problem{text: fmt.Sprintf("there are more than %d keys", jwksMaxKeys)}
	}
	if len(list) == 0 {
		return nil, nil, &problem{text: "there are no keys", do: doKeys}
	}
	byID = make(map[string][]jwt.VerificationKey)
	for _, raw := range list {
		kid, key, ok := parseKey(raw)
		if ok {
			all = append(all, key)
			byID[kid] = append(byID[kid], key)
		}
	}
	if len(all) == 0 {
		return nil, nil, &problem{
			text: "none of the keys can verify tokens",
			do:   "publish an RSA key of 2048 bits or more, one of the curve P-256, or Ed25519",
		}
	}
	return byID, all, nil
}
