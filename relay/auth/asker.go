package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

const (
	// maxAnswer bounds what the application answers, in bytes.
	maxAnswer = 64 << 10
	// refusalCache is how long a refusal is kept: who has just logged in does not wait for it to pass.
	refusalCache = time.Second
	// queueFactor is how many questions wait for each that is asked.
	queueFactor = 8
)

// A verdict is what an answer of the application comes to.
type verdict uint8

const (
	unavailable verdict = iota // nobody can tell now; the zero value, so that no mistake lets anybody in
	granted
	anonymous // it does not know the user
	forbidden // it knows, and will not have the user
)

// An answer is what the application said.
type answer struct {
	verdict verdict
	id      *access.Identity // of a login that was granted
	until   time.Time        // of a channel that was granted; zero for no end
	keep    time.Duration    // for how long it may be kept
}

// A digest stands for a credential in memory. Its key is made anew in each process.
type digest [sha256.Size]byte

// A lane bounds the requests that are made of the application at once, whatever they ask.
type lane struct {
	client *http.Client
	slots  chan struct{}
	stats  *stats.Stats
	logger *slog.Logger
	some   *rate.Sometimes
	secret []byte

	timeout time.Duration // of one request, from when it is sent
	cache   time.Duration

	ctx  context.Context // ends when the application is not asked any more
	stop context.CancelFunc

	mu      sync.Mutex
	stopped bool
	flights sync.WaitGroup
}

func newLane(c ApplicationConfig) *lane {
	l := &lane{
		client: newClient(c.Concurrency), slots: make(chan struct{}, c.Concurrency), stats: c.Stats, logger: c.Logger,
		some: &rate.Sometimes{First: 10, Interval: time.Second}, secret: []byte(rand.Text()),
		timeout: c.Timeout, cache: c.Cache,
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// run waits for ctx, and then for what is still being asked.
func (l *lane) run(ctx context.Context) error {
	<-ctx.Done()
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.stop()
	l.flights.Wait()
	l.client.CloseIdleConnections()
	return nil
}

// digest returns the keyed hash of parts. Each part is counted before it is hashed, so that no two lists are one.
func (l *lane) digest(parts ...[]string) (d digest) {
	mac := hmac.New(sha256.New, l.secret)
	var length [8]byte
	count := func(n int) {
		binary.BigEndian.PutUint64(length[:], uint64(n))
		mac.Write(length[:])
	}
	for _, part := range parts {
		count(len(part))
		for _, text := range part {
			count(len(text))
			io.WriteString(mac, text)
		}
	}
	mac.Sum(d[:0])
	return d
}

// An asker asks one URL of the application, each question once however many wait for it.
type asker struct {
	*lane
	url     string
	setting string // for the log
	read    func(status int, body []byte) (answer, error)

	kept    *cache
	group   singleflight.Group
	waiting atomic.Int64
}

func newAsker(l *lane, url, setting string, read func(int, []byte) (answer, error)) *asker {
	return &asker{lane: l, url: url, setting: setting, read: read, kept: newCache()}
}

// ask returns what the application says, or unavailable when ctx ends first: the question goes on for the others.
func (a *asker) ask(ctx context.Context, key digest, header http.Header) answer {
	if kept, ok := a.kept.get(key); ok {
		return kept
	}
	done := a.group.DoChan(string(key[:]), func() (any, error) { return a.fly(key, header), nil })
	select {
	case <-ctx.Done():
		return answer{}
	case result := <-done:
		return result.Val.(answer)
	}
}

// fly asks, when its turn comes, and keeps what is worth keeping.
func (a *asker) fly(key digest, header http.Header) answer {
	a.mu.Lock()
	if a.stopped {
		a.mu.Unlock()
		return answer{}
	}
	a.flights.Add(1)
	a.mu.Unlock()
	defer a.flights.Done()
	if kept, ok := a.kept.get(key); ok { // it came while we came here
		return kept
	}
	if !a.enter() {
		a.stats.AuthRequests[stats.AuthBusy].Add(1)
		return answer{}
	}
	defer func() { <-a.slots }()
	began := time.Now()
	said, size, err := a.request(header)
	a.stats.AuthSeconds.Observe(time.Since(began))
	a.stats.AuthRequests[resultOf(said, err)].Add(1)
	switch {
	case err != nil:
		a.some.Do(func() {
			a.logger.Warn("the application's answer is of no use", "setting", a.setting, "reason", answerReason(err))
		})
		return answer{}
	case said.verdict == granted:
		a.kept.put(key, said, min(a.cache, said.keep), 512+4*size)
	default:
		a.kept.put(key, said, min(a.cache, refusalCache), 512)
	}
	return said
}

// enter waits for a slot, if the queue has room.
func (a *asker) enter() bool {
	select {
	case a.slots <- struct{}{}:
		return true
	default:
	}
	defer a.waiting.Add(-1)
	if a.waiting.Add(1) > int64(queueFactor*cap(a.slots)) {
		return false
	}
	select {
	case a.slots <- struct{}{}:
		return true
	case <-a.ctx.Done():
		return false
	}
}

func (a *asker) request(header http.Header) (said answer, size int, err error) {
	ctx, cancel := context.WithTimeout(a.ctx, a.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, nil)
	if err != nil {
		return answer{}, 0, errRequest
	}
	request.Header = header
	response, err := a.client.Do(request)
	if err != nil {
		return answer{}, 0, transportError(ctx)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, 0, transportError(ctx)
	case len(body) > maxAnswer:
		return answer{}, 0, errHuge
	}
	said, err = a.read(response.StatusCode, body)
	return said, len(body), err
}

var errTimeout = errors.New("it does not answer in time")

func transportError(ctx context.Context) error {
	if ctx.Err() != nil {
		return errTimeout
	}
	return errTransport
}

func answerReason(err error) string {
	for _, known := range []error{errTimeout, errLoginAnswer, errChannelAnswer} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return fetchReason(err)
}

func resultOf(said answer, err error) stats.AuthResult {
	switch {
	case errors.Is(err, errTimeout):
		return stats.AuthTimeout
	case err != nil:
		return stats.AuthFailed
	}
	switch said.verdict {
	case granted:
		return stats.AuthGranted
	case anonymous:
		return stats.AuthAnonymous
	case forbidden:
		return stats.AuthForbidden
	}
	return stats.AuthFailed
}
