package auth

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"net/http"
	"time"
)

// Probed is the result of one test request to the application, with a random
// cookie that the application cannot know.
type Probed struct {
	Setting string // name of the setting that holds the URL
	Status  int    // HTTP status of the answer; 0: there was no complete answer
	Why     string // why there is no usable answer, without the URL and the answer's text; empty: it is usable
	Do      string // what to do about that; may be empty
	Broken  bool   // no client can get a usable answer from this URL
	Opens   bool   // the answer grants something to the random cookie
	// Ahead is by how much, at least, the clock of the application is ahead of
	// this machine's; negative: behind; 0: it is not known to differ.
	Ahead time.Duration
	Chain []*x509.Certificate // of the server; nil without TLS or an answer
}

// Probe sends one request to each URL of c, as the relay would. Of c, it uses
// the URLs and Timeout only.
func Probe(ctx context.Context, c ApplicationConfig) (results []Probed) {
	c.Concurrency = 1
	a := NewApplication(c)
	defer a.pool.client.CloseIdleConnections()
	a.pool.ctx = ctx
	random := rand.Text()
	header := http.Header{
		"Accept": {"application/json"}, "X-Requested-With": {"XMLHttpRequest"}, "User-Agent": {""},
		"Cookie": {"sidecast_check=" + random},
	}
	if a.logins != nil {
		results = append(results, probeURL(a.logins, question{header: header}))
	}
	if a.private != nil {
		results = append(results, probeURL(a.private, broadcastQuestion(header.Clone(), "1.1", "private-sidecast-check-"+random)))
	}
	if a.channels != nil {
		header = header.Clone()
		header.Set("X-Sidecast-Channel", "sidecast-check-"+random)
		results = append(results, probeURL(a.channels, question{header: header}))
	}
	return results
}

// probeURL changes the client, so the client must not be used for anything
// else.
func probeURL(client *authClient, q question) Probed {
	result := Probed{Setting: client.setting, Broken: true}
	parse := client.parse
	client.parse = func(r reply) (answer, error) {
		result.Chain = r.chain
		result.Status, result.Broken, result.Ahead = r.status, r.misdirected != nil, clockAhead(r.date, r.asked, time.Now())
		return parse(r)
	}
	answered, _, err := client.send(q)
	if err == nil && answered.mistake != nil {
		err = answered.mistake
	}
	if err != nil {
		result.Why, result.Do = explain(err)
	}
	result.Opens = answered.outcome == granted
	return result
}

// ProbedKeys is the result of one request for a set of keys.
type ProbedKeys struct {
	Count int    // of the keys that can verify tokens; 0: there is a reason in Why
	Why   string // without the URL and the answer's text
	Do    string // what to do about that
}

// ProbeKeys fetches the keys at a URL, as the relay would.
func ProbeKeys(ctx context.Context, address string) ProbedKeys {
	ctx, cancel := context.WithTimeout(ctx, jwksTimeout)
	defer cancel()
	s := newJWKS(address)
	defer s.client.CloseIdleConnections()
	if err := s.refresh(ctx); err != nil {
		why, do := explain(withAdvice(err, doKeys))
		return ProbedKeys{Why: why, Do: do}
	}
	return ProbedKeys{Count: len(s.all)}
}

// clockAhead returns by how much, at least, a server's clock is ahead of this
// machine's, if its answer to a request that was sent and answered then had this
// header Date. The header has whole seconds.
func clockAhead(date string, asked, answered time.Time) time.Duration {
	shown, err := http.ParseTime(date)
	switch {
	case err != nil:
		return 0
	case shown.After(answered):
		return shown.Sub(answered)
	case shown.Add(time.Second).Before(asked):
		return shown.Add(time.Second).Sub(asked)
	}
	return 0
}
