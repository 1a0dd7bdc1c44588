package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/app"
	"sidecast/relay/source"
	"sidecast/relay/stream"
	"sidecast/relay/trace"
)

const (
	// redisRetry is the time between two attempts to use Redis.
	redisRetry = time.Second
	// streamEvery is how often the stream of a durable channel is read.
	streamEvery = 300 * time.Millisecond
	// streamPage is how many entries are read at a time.
	streamPage = 100
	// maxDatabases bounds in how many databases a stream is searched.
	maxDatabases = 32
)

// A traceRedis listens to everything that is published in Redis, with a
// subscription of its own, and reads the stream of a durable channel.
type traceRedis struct {
	client    redis.UniversalClient
	settings  *app.Settings
	explained *trace.Explanation
	out       chan<- traceInput

	problem string        // the last one that was reported
	search  chan struct{} // asks to search the stream in other databases; has room for one
}

func newTraceRedis(client redis.UniversalClient, s *app.Settings, e *trace.Explanation, out chan<- traceInput) *traceRedis {
	return &traceRedis{client: client, settings: s, explained: e, out: out, search: make(chan struct{}, 1)}
}

// identify returns which server this is.
func (r *traceRedis) identify(ctx context.Context) trace.Redis {
	server := r.settings.Redis
	id := trace.Redis{Address: server.Address, DB: server.DB}
	if server.Mode != source.Cluster {
		id.RunID = source.RunID(ctx, r.client)
	}
	return id
}

// run listens until ctx ends.
func (r *traceRedis) run(ctx context.Context) {
	if r.explained.Relayed == trace.RelayedDurable {
		done := make(chan struct{})
		defer func() { <-done }()
		go func() {
			defer close(done)
			r.followStream(ctx)
		}()
	}
	for ctx.Err() == nil {
		err := r.listen(ctx, "*")
		if source.IsDenied(err) {
			r.say(ctx, trace.Sentence{
				Text: "the Redis user may not listen to everything, so only this channel is followed, and similar names are not seen", Wrong: true,
				Do: "give this command a user with +psubscribe and &*, in SIDECAST_REDIS_USERNAME and SIDECAST_REDIS_PASSWORD",
			})
			err = r.listen(ctx, "")
		}
		if source.IsDenied(err) {
			r.say(ctx, trace.Sentence{
				Text: fmt.Sprintf("the Redis user may not subscribe to %q", r.explained.Redis), Wrong: true,
				Do: fmt.Sprintf("grant it with ACL SETUSER <user> +subscribe +psubscribe &%s; a relay with this user lacks the right, too: run `sidecast check`", r.pattern()),
			})
			return
		}
		if err != nil && ctx.Err() == nil && r.problem != err.Error() {
			r.problem = err.Error()
			r.say(ctx, trace.Sentence{
				Text: "Redis cannot be used: " + r.settings.Redis.Redact(err), Do: "run `sidecast check`", Wrong: true,
			})
		}
		pause(ctx, redisRetry)
	}
}

// pattern returns the pattern to which a relay subscribes for the channel.
func (r *traceRedis) pattern() string {
	names := r.settings.Access.Names
	if i := r.settings.Access.Channels.Owner(r.explained.Channel); i >= 0 {
		return names.RedisPattern(r.settings.Access.Channels[i])
	}
	return r.explained.Redis
}

// listen receives all messages, on all names that a pattern matches, or on
// the channel only. It returns an error when it no longer can.
func (r *traceRedis) listen(ctx context.Context, pattern string) error {
	var sub *redis.PubSub
	if pattern != "" {
		sub = r.client.PSubscribe(ctx, pattern)
	} else {
		sub = r.client.Subscribe(ctx, r.explained.Redis)
	}
	defer sub.Close()                                          //nolint:errcheck // nothing was written
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // a canceled ctx does not end a read
	if _, err := sub.Receive(ctx); err != nil {
		return err
	}
	r.listening(ctx, pattern != "")
	for {
		message, err := sub.ReceiveMessage(ctx)
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		at := time.Now()
		r.send(ctx, func(t *trace.Trace) []trace.Line { return t.Message(at, message.Channel, []byte(message.Payload)) })
	}
}

// listening says that the subscription is confirmed.
func (r *traceRedis) listening(ctx context.Context, everything bool) {
	r.problem = ""
	at := time.Now()
	r.send(ctx, func(t *trace.Trace) []trace.Line { return t.Listening(at, everything) })
}

// followStream reads the entries that are added to the stream.
func (r *traceRedis) followStream(ctx context.Context) {
	s := r.settings
	streams := source.NewStreams(r.client, source.Config{Server: s.Redis, Names: s.Access.Names, MaxPayload: r.explained.MaxPayload})
	var last stream.ID
	known := false
	for ; ctx.Err() == nil; pause(ctx, streamEvery) {
		select {
		case <-r.search:
			r.searchDatabases(ctx)
		default:
		}
		next, err := r.newEntries(ctx, streams, last, known)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && (source.IsDenied(err) || errors.Is(err, stream.ErrNoStream)):
			text := "the stream cannot be read: " + s.Redis.Redact(err)
			do := "run `sidecast check`"
			if advised, ok := errors.AsType[stream.Advised](err); ok {
				do = advised.Advice()
			}
			r.say(ctx, trace.Sentence{Text: text, Do: do, Wrong: true})
			return
		case err == nil:
			last, known = next, true
		}
	}
}

// newEntries handles the entries after last, and returns the id of the newest
// one. Before any is known, it only finds that.
func (r *traceRedis) newEntries(ctx context.Context, streams stream.Store, last stream.ID, known bool) (stream.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if !known {
		newest, err := streams.Newest(ctx, r.explained.Channel, 1)
		if err != nil || len(newest) == 0 {
			return stream.ID{}, err
		}
		return newest[0].ID, nil
	}
	from, ok := last.Next()
	if !ok {
		return last, nil
	}
	page, err := streams.Read(ctx, r.explained.Channel, from, streamPage)
	if err != nil {
		return last, err
	}
	for _, e := range page.Entries {
		at := time.Now()
		r.send(ctx, func(t *trace.Trace) []trace.Line { return t.Entry(at, e.ID.String(), e.Payload, e.TooLarge) })
		last = e.ID
	}
	return last, nil
}

// searchDatabases finds the stream in another database.
func (r *traceRedis) searchDatabases(ctx context.Context) {
	if r.settings.Redis.Mode == source.Cluster {
		return // it has only one
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	list, err := source.Databases(ctx, r.client)
	if err != nil {
		return
	}
	for _, db := range list[:min(len(list), maxDatabases)] {
		if db != r.settings.Redis.DB && r.hasStream(ctx, db) {
			now := time.Now()
			r.send(ctx, func(t *trace.Trace) []trace.Line { return t.OtherDatabase(now, db) })
			return
		}
	}
}

// hasStream reports whether the stream is in a database.
func (r *traceRedis) hasStream(ctx context.Context, db int) bool {
	server := r.settings.Redis
	server.DB = db
	client, err := source.NewClient(server, r.settings.Access.Names)
	if err != nil {
		return false
	}
	defer client.Close()
	n, err := client.XLen(ctx, r.explained.Redis).Result()
	return err == nil && n > 0
}

// say passes a sentence on.
func (r *traceRedis) say(ctx context.Context, says trace.Sentence) {
	at := time.Now()
	r.send(ctx, func(*trace.Trace) []trace.Line {
		return []trace.Line{{At: at, From: "redis", Kind: "redis", Sentence: says}}
	})
}

func (r *traceRedis) send(ctx context.Context, input traceInput) { sendInput(ctx, r.out, input) }

// sendInput waits until the tracer has room for an input, or ctx ends.
func sendInput(ctx context.Context, to chan<- traceInput, input traceInput) {
	select {
	case to <- input:
	case <-ctx.Done():
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
