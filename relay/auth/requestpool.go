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
// the same time, over all its URLs. It is safe for concurrent use.
type requestPool struct {
	client   *http.Client
	slots    chan struct{} // has one element for each request in progress
	stats    *stats.Stats
	logger   *slog.Logger
	logLimit *rate.Sometimes // clients can cause log lines, and they must not fill the disk
	hashKey  []byte

	timeout     time.Duration // of one request, from when it is sent
	maxCacheAge time.Duration // of positive answers

	ctx  context.Context // ends when the pool stops, which cancels all requests
	stop context.CancelFunc

	mu       sync.Mutex
	stopped  bool
	inFlight sync.WaitGroup
}

func newRequestPool(c ApplicationConfig) *requestPool {
	p := &requestPool{
		client: newHTTPClient(c.Concurrency), slots: make(chan struct{}, c.Concurrency), stats: c.Stats, logger: c.Logger,
		logLimit: &rate.Sometimes{First: 10, Interval: time.Second}, hashKey: []byte(rand.Text()),
		timeout: c.Timeout, maxCacheAge: c.Cache,
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// run waits until ctx ends, cancels the requests in progress and waits until
// they have ended.
func (p *requestPool) run(ctx context.Context) error {
	<-ctx.Done()
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.stop()
	p.inFlight.Wait()
	p.client.CloseIdleConnections()
	return nil
}

// begin makes run wait for the caller until it calls p.inFlight.Done. It
// returns false if the pool has stopped.
func (p *requestPool) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return false
	}
	p.inFlight.Add(1)
	return true
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
