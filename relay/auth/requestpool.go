package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sidecast/relay/stats"
)

// A requestPool bounds how many requests the relay sends to the application at
// the same time, over all its URLs, and shares them among the requesters. It is
// safe for concurrent use.
type requestPool struct {
	client   *http.Client
	stats    *stats.Stats
	logger   *slog.Logger
	logLimit *rate.Sometimes // clients can cause log lines, and they must not fill the disk
	hashKey  []byte

	timeout     time.Duration // of one request, from when it is sent
	maxCacheAge time.Duration // of positive answers

	ctx  context.Context // ends when the pool stops, which cancels all requests
	stop context.CancelFunc

	mu      sync.Mutex // guards the fields below, and the flights of each authClient
	stopped bool
	queue   *turnQueue

	requests sync.WaitGroup // the goroutines of the flights that run; run waits for them
}

func newRequestPool(c ApplicationConfig) *requestPool {
	p := &requestPool{
		client: newHTTPClient(c.Concurrency), queue: newTurnQueue(c.Concurrency), stats: c.Stats, logger: c.Logger,
		logLimit: &rate.Sometimes{First: 10, Interval: time.Second}, hashKey: []byte(rand.Text()),
		timeout: c.Timeout, maxCacheAge: c.Cache,
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// run waits until ctx ends, rejects the flights that wait, cancels the requests
// in progress and waits until they have ended.
func (p *requestPool) run(ctx context.Context) error {
	<-ctx.Done()
	p.mu.Lock()
	p.stopped = true
	for _, f := range p.queue.removeAll() {
		f.end(answer{})
	}
	p.mu.Unlock()
	p.stop()
	p.requests.Wait()
	p.client.CloseIdleConnections()
	return nil
}

// enqueue lets f wait for its turn. If there are too many flights then, it
// rejects one: f or another. Its caller holds p.mu, and has checked that the
// pool has not stopped.
func (p *requestPool) enqueue(f *flight) {
	p.queue.push(f)
	p.startNext()
	if rejected := p.queue.shed(f.requester); rejected != nil {
		p.stats.AuthRequests[stats.AuthBusy].Add(1)
		rejected.end(answer{})
	}
}

// startNext starts all flights that can run now. Its caller holds p.mu.
func (p *requestPool) startNext() {
	for f := p.queue.next(); f != nil; f = p.queue.next() {
		p.requests.Go(func() { p.finish(f, f.client.fetch(f.key, f.question)) })
	}
}

// finish ends a flight that has run, and gives its slot to the next.
func (p *requestPool) finish(f *flight, a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.end(a)
	p.queue.release(f.requester)
	p.startNext()
}

// A cacheKey represents credentials, or a question about them, in memory. It is
// a hash with a key that is new in each process.
type cacheKey [sha256.Size]byte

// cacheKey returns the keyed hash of lists. It hashes the length before each
// list and each text, so that different lists never have the same hash input.
func (p *requestPool) cacheKey(lists ...[]string) (key cacheKey) {
	mac := hmac.New(sha256.New, p.hashKey)
	var buffer [8]byte
	writeLength := func(n int) {
		binary.BigEndian.PutUint64(buffer[:], uint64(n))
		mac.Write(buffer[:])
	}
	for _, list := range lists {
		writeLength(len(list))
		for _, text := range list {
			writeLength(len(text))
			io.WriteString(mac, text)
		}
	}
	mac.Sum(key[:0])
	return key
}
