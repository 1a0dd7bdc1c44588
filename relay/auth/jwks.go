package auth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

// Bounds on a set of keys.
const (
	jwksBytes   = 256 << 10
	jwksKeys    = 64
	jwksTimeout = 5 * time.Second
	jwksEvery   = 10 * time.Minute // a revoked key is believed for this long
	jwksRetry   = 10 * time.Second // after a failure, and between two tokens with an unknown key
	jwksStale   = 24 * time.Hour   // a set that could not be fetched anew for this long is not believed any more
)

// A jwks is a set of keys behind one URL (RFC 7517). Keys come from there and nowhere else: what a token's header says of
// keys and URLs is not read, but for the key's id.
type jwks struct {
	url    string
	client *http.Client
	flight singleflight.Group
	limit  *rate.Limiter // of fetches that tokens cause

	mu      sync.RWMutex
	byID    map[string][]jwt.VerificationKey
	all     []jwt.VerificationKey
	fetched time.Time
}

// JWKS verifies by the keys at a URL, which is https, or http on this machine. They are fetched by [Tokens.Run], and when
// a token names a key that is not there.
func JWKS(address string) (*Keys, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopbackHost(u.Hostname())) {
		return nil, errors.New("keys are fetched by https only, or by http from this machine")
	}
	s := &jwks{url: address, client: newClient(1), limit: rate.NewLimiter(rate.Every(jwksRetry), 2)}
	return &Keys{algorithms: Algorithms[3:], find: s.find, run: s.run}, nil
}

// run fetches the keys at once and from time to time until ctx ends.
func (s *jwks) run(ctx context.Context, logger *slog.Logger) error {
	for {
		wait := jwksEvery
		if err := s.fetch(ctx); err != nil && ctx.Err() == nil {
			logger.Warn("the keys for tokens cannot be fetched", "setting", "SIDECAST_JWT_JWKS_URL", "reason", fetchReason(err))
			wait = jwksRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// find returns the keys with this id, or all where a token names none.
func (s *jwks) find(ctx context.Context, kid string) ([]jwt.VerificationKey, error) {
	keys, known := s.look(kid)
	if len(keys) > 0 {
		return keys, nil
	}
	if !s.limit.Allow() {
		// Somebody else's token has just caused a fetch. Whether that brings this key is not known yet.
		return nil, errKeysAway
	}
	if err := s.fetch(ctx); err != nil && !known {
		return nil, errKeysAway
	}
	if keys, _ = s.look(kid); len(keys) > 0 {
		return keys, nil
	}
	return nil, errKeyUnknown
}

// look returns what is there, and whether what is there is to be believed.
func (s *jwks) look(kid string) (keys []jwt.VerificationKey, known bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fetched.IsZero() || time.Since(s.fetched) > jwksStale {
		return nil, false
	}
	if kid == "" {
		return s.all, true
	}
	return s.byID[kid], true
}

// fetch fetches the keys, once however many ask at the same time. Who stops waiting does not stop it.
func (s *jwks) fetch(ctx context.Context) error {
	done := s.flight.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), jwksTimeout)
		defer cancel()
		return nil, s.refresh(ctx)
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case result := <-done:
		return result.Err
	}
}

func (s *jwks) refresh(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return errRequest
	}
	request.Header.Set("Accept", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return errTransport
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errStatus
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, jwksBytes+1))
	switch {
	case err != nil:
		return errTransport
	case len(body) > jwksBytes:
		return errHuge
	}
	byID, all, err := parseKeys(body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID, s.all, s.fetched = byID, all, time.Now()
	return nil
}

// parseKeys reads a set. A key that is not for signatures, or that we cannot use, is left out; the others count.
func parseKeys(body []byte) (byID map[string][]jwt.VerificationKey, all []jwt.VerificationKey, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || len(set.Keys) > jwksKeys {
		return nil, nil, errAnswer
	}
	byID = make(map[string][]jwt.VerificationKey)
	for _, raw := range set.Keys {
		var about struct{ Kid, Use string }
		if json.Unmarshal(raw, &about) != nil || about.Use != "" && about.Use != "sig" {
			continue
		}
		for _, key := range publicKeys(raw) {
			all = append(all, key)
			byID[about.Kid] = append(byID[about.Kid], key)
		}
	}
	if len(all) == 0 {
		return nil, nil, errAnswer
	}
	return byID, all, nil
}

// publicKeys returns the public key that one JWK holds, if it is one that we use.
func publicKeys(raw json.RawMessage) (keys []jwt.VerificationKey) {
	parsed, err := keyfunc.NewJWKJSON(raw)
	if err != nil {
		return nil
	}
	set, err := parsed.VerificationKeySet(context.Background())
	if err != nil {
		return nil
	}
	for _, key := range set.Keys {
		if _, err := algorithmOf(key); err == nil {
			keys = append(keys, key)
		}
	}
	return keys
}
