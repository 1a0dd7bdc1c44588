package counts

import (
	"context"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// maxNews bounds the names in the messages of one pass. Instead of more, one
// message tells the others to read everything.
const maxNews = 10 * maxFields

var newline = []byte{'\n'}

// announce lets the other relays know that the number of a channel has changed.
func (w *worker) announce(name string) {
	switch {
	case w.newsAll:
	case len(w.news) == maxNews:
		w.news, w.newsAll = nil, true
	default:
		w.news = append(w.news, name)
	}
}

// publish publishes the names of the channels that were written. Without them,
// other relays read everything. If Redis refuses it, that is no reason not to
// tell this relay's clients.
func (w *worker) publish(ctx context.Context) error {
	messages := w.messages()
	if len(messages) == 0 {
		return nil
	}
	err := w.do(ctx, func(ctx context.Context, p redis.Pipeliner) {
		for _, message := range messages {
			p.Publish(ctx, w.c.topic, message)
		}
	})
	w.news, w.newsAll = nil, err != nil
	if err != nil {
		w.trouble = err
	}
	return nil
}

// messages returns what to publish: messages that begin with the id of this
// relay, followed by names, each on a line of its own. A message without a name
// concerns all channels.
func (w *worker) messages() (list []string) {
	if w.newsAll && len(w.dirty) == 0 {
		return []string{w.c.relay}
	}
	for rest := w.news; len(rest) > 0; {
		n := fitting(len(rest), func(i int) int { return len(rest[i]) })
		list = append(list, w.c.relay+"\n"+strings.Join(rest[:n], "\n"))
		rest = rest[n:]
	}
	return list
}

// hear applies a message of another relay.
func (w *worker) hear(message []byte) {
	relay, names, some := strings.Cut(string(message), "\n")
	if !slices.Contains(w.relays, relay) {
		w.refreshAt = w.c.cfg.Now() // it is new
	}
	if !some {
		w.readAll()
		return
	}
	for name := range strings.SplitSeq(names, "\n") {
		if ch := w.channels[name]; ch != nil && ch.watch != nil {
			w.stale[ch] = struct{}{}
		}
	}
}
