package auth

import (
	"context"
	"crypto/rand"
	"net/http"
)

// A Probed is what an application answers about somebody with a cookie that it cannot know.
type Probed struct {
	Setting string // the name of the setting that holds the URL
	Status  int    // of the answer; 0 where there was none, or none in time
	Why     string // what is wrong with it, without the URL and without the answer; empty for nothing
	Opens   bool   // it opens something for that cookie
}

// Probe asks each URL of c once, as the relay would. It needs no more of c than the URLs and Timeout.
func Probe(ctx context.Context, c ApplicationConfig) (all []Probed) {
	c.Concurrency = 1
	a := NewApplication(c)
	defer a.lane.client.CloseIdleConnections()
	a.lane.ctx = ctx
	nonsense := rand.Text()
	header := http.Header{
		"Accept": {"application/json"}, "X-Requested-With": {"XMLHttpRequest"}, "User-Agent": {""},
		"Cookie": {"sidecast_check=" + nonsense},
	}
	if a.login != nil {
		all = append(all, a.login.probe(header))
	}
	if a.channels != nil {
		header = header.Clone()
		header.Set("X-Sidecast-Channel", "sidecast-check-"+nonsense)
		all = append(all, a.channels.probe(header))
	}
	return all
}

func (a *asker) probe(header http.Header) Probed {
	p := Probed{Setting: a.setting}
	read := a.read
	a.read = func(status int, body []byte) (answer, error) {
		p.Status = status
		return read(status, body)
	}
	said, _, err := a.request(header)
	if err != nil {
		p.Why = answerReason(err)
	}
	p.Opens = said.verdict == granted
	return p
}
