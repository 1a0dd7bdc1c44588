package auth

import (
	"context"
	"errors"
	"time"

	"sidecast/relay/stats"
)

const (
	// maxAnswerBytes bounds the body of an answer of the application.
	maxAnswerBytes = 64 << 10
	// refusalCacheAge is how long negative answers about logins and channels are
	// cached. It is short, so that a user who has just logged in can connect
	// soon.
	refusalCacheAge = time.Second
)

// An authClient asks one URL of the application. If several clients need the
// same answer at the same time, it sends one request. It is safe for concurrent
// use.
type authClient struct {
	*requestPool
	url     string
	setting string // the setting that holds the URL, for the log
	parse   func(reply) (answer, error)
	// refusalAge is how long negative answers are cached.
	refusalAge time.Duration

	cache   *cache
	flights map[cacheKey]*flight // that wait or run; guarded by requestPool.mu
}

func newAuthClient(p *requestPool, url, setting string, parse func(reply) (answer, error)) *authClient {
	return &authClient{
		requestPool: p, url: url, setting: setting, parse: parse, refusalAge: refusalCacheAge,
		cache: newCache(), flights: make(map[cacheKey]*flight),
	}
}

// ask returns the application's answer. It returns the outcome unavailable if
// ctx ends first, or if too many questions are waiting. stale reports whether an
// answer must not be used any more: then it asks once more.
func (c *authClient) ask(ctx context.Context, who requester, key cacheKey, q question, stale func(answer) bool) answer {
	if a := c.askOnce(ctx, who, key, q, stale); !stale(a) {
		return a
	}
	return c.askOnce(ctx, who, key, q, stale)
}

func (c *authClient) askOnce(ctx context.Context, who requester, key cacheKey, q question, stale func(answer) bool) answer {
	f, cached := c.join(who, key, q, stale)
	if f == nil {
		return cached
	}
	select {
	case <-ctx.Done():
		c.leave(f)
		return answer{}
	case <-f.done:
		return f.answer
	}
}

// join returns the flight whose answer the caller has to wait for. It starts a
// flight if no other caller has. It returns nil if there is an answer already.
func (c *authClient) join(who requester, key cacheKey, q question, stale func(answer) bool) (*flight, answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A flight that has ended has put its answer into the cache, so the cache
	// must be read with the same lock as the flights.
	if cached, ok := c.cache.get(key); ok && !stale(cached) {
		return nil, cached
	}
	if c.stopped {
		return nil, answer{}
	}
	f := c.flights[key]
	if f == nil {
		f = &flight{client: c, requester: who, key: key, question: q, done: make(chan struct{})}
		c.flights[key] = f
		c.enqueue(f)
	}
	f.callers++
	return f, answer{}
}

// leave ends one caller's wait for f. A flight without callers gives up its
// place in the queue: clients that connect and disconnect again must not fill
// the queue. A request that has been sent continues, and its answer is cached.
func (c *authClient) leave(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.callers--
	if f.callers == 0 && c.queue.remove(f) {
		delete(c.flights, f.key)
	}
}

// fetch sends the request and caches the answer if it may be cached.
func (c *authClient) fetch(key cacheKey, q question) answer {
	began := time.Now()
	answered, size, err := c.send(q)
	c.stats.AuthSeconds.Observe(time.Since(began))
	c.stats.AuthRequests[authResult(answered, err)].Add(1)
	switch {
	case err != nil:
		c.warn("the application's answer is unusable: clients are asked to try again later", err)
		return answer{}
	case answered.mistake != nil:
		c.warn("the application's answer allows nothing: clients are refused", answered.mistake)
	case answered.outcome == granted:
		c.cache.put(key, answered, min(c.maxCacheAge, answered.maxAge), 512+4*size)
	default:
		c.cache.put(key, answered, min(c.maxCacheAge, c.refusalAge), 512)
	}
	return answered
}

// warn logs the problem with an answer. message is constant.
func (c *authClient) warn(message string, err error) {
	c.logLimit.Do(func() {
		reason, do := explain(err)
		c.logger.Warn(message, "setting", c.setting, "reason", reason, "do", do)
	})
}

// send sends one request and parses the answer. size is the length of the
// answer in bytes.
func (c *authClient) send(q question) (answered answer, size int, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
	defer cancel()
	r, err := httpAsk(ctx, c.client, c.url, q, maxAnswerBytes)
	if err != nil {
		return answer{}, 0, err
	}
	answered, err = c.parse(r)
	answered.asked = r.asked
	return answered, len(r.body), err
}

// authResult returns the metric's label for an answer or an error.
func authResult(answered answer, err error) stats.AuthResult {
	switch {
	case errors.Is(err, errConnectTimeout), errors.Is(err, errAnswerTimeout):
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
