package auth

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"sidecast/relay/stats"
)

const (
	// maxAnswerBytes bounds the body of an answer of the application.
	maxAnswerBytes = 64 << 10
	// refusalCacheAge is how long negative answers are cached. It is short, so
	// that a user who has just logged in can connect soon.
	refusalCacheAge = time.Second
	// queueFactor is how many questions to one URL may wait, for each request
	// that may be in progress.
	queueFactor = 8
)

// An authClient asks one URL of the application. If several clients need the
// same answer at the same time, it sends one request. It is safe for concurrent
// use.
type authClient struct {
	*requestPool
	url     string
	setting string // the setting that holds the URL, for the log
	parse   func(status int, body []byte) (answer, error)

	cache  *cache
	group  singleflight.Group
	queued atomic.Int64
}

func newAuthClient(p *requestPool, url, setting string, parse func(int, []byte) (answer, error)) *authClient {
	return &authClient{requestPool: p, url: url, setting: setting, parse: parse, cache: newCache()}
}

// ask returns the application's answer. It returns the outcome unavailable if
// ctx ends first; the request continues then, because other callers may be
// waiting for the same answer.
func (c *authClient) ask(ctx context.Context, key cacheKey, header http.Header) answer {
	if cached, ok := c.cache.get(key); ok {
		return cached
	}
	done := c.group.DoChan(string(key[:]), func() (any, error) { return c.fetch(key, header), nil })
	select {
	case <-ctx.Done():
		return answer{}
	case result := <-done:
		return result.Val.(answer)
	}
}

// fetch waits for a slot, sends the request and caches the answer if it may be
// cached.
func (c *authClient) fetch(key cacheKey, header http.Header) answer {
	if !c.begin() {
		return answer{}
	}
	defer c.inFlight.Done()
	if cached, ok := c.cache.get(key); ok { // an earlier request has ended after ask looked
		return cached
	}
	if !c.acquireSlot() {
		c.stats.AuthRequests[stats.AuthBusy].Add(1)
		return answer{}
	}
	defer func() { <-c.slots }()
	began := time.Now()
	answered, size, err := c.send(header)
	c.stats.AuthSeconds.Observe(time.Since(began))
	c.stats.AuthRequests[authResult(answered, err)].Add(1)
	switch {
	case err != nil:
		c.logLimit.Do(func() {
			c.logger.Warn("the application's answer is unusable: clients are asked to try again later",
				"setting", c.setting, "reason", fetchReason(err))
		})
		return answer{}
	case answered.outcome == granted:
		c.cache.put(key, answered, min(c.maxCacheAge, answered.maxAge), 512+4*size)
	default:
		c.cache.put(key, answered, min(c.maxCacheAge, refusalCacheAge), 512)
	}
	return answered
}

// acquireSlot waits for a free slot. It returns false if too many others are
// waiting already, or when the pool stops.
func (c *authClient) acquireSlot() bool {
	select {
	case c.slots <- struct{}{}:
		return true
	default:
	}
	defer c.queued.Add(-1)
	if c.queued.Add(1) > int64(queueFactor*cap(c.slots)) {
		return false
	}
	select {
	case c.slots <- struct{}{}:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// send sends one request and parses the answer. size is the length of the
// answer in bytes.
func (c *authClient) send(header http.Header) (answered answer, size int, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
	defer cancel()
	status, body, err := httpGet(ctx, c.client, c.url, header, maxAnswerBytes)
	if err != nil {
		return answer{}, 0, err
	}
	answered, err = c.parse(status, body)
	return answered, len(body), err
}

// authResult returns the metric's label for an answer or an error.
func authResult(answered answer, err error) stats.AuthResult {
	switch {
	case errors.Is(err, errTimeout):
		return stats.AuthTimeout
	case err != nil:
		return stats.AuthFailed
	}
	switch answered.outcome {
	case granted:
		return stats.AuthGranted
	case anonymous:
		return stats.AuthAnonymous
	case forbidden:
		return stats.AuthForbidden
	}
	return stats.AuthFailed
}
