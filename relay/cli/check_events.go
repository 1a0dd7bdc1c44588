package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/config"
	"sidecast/relay/access"
	"sidecast/relay/app"
	"sidecast/relay/protocol"
	"sidecast/relay/source"
	"sidecast/relay/trace"
)

// maxMistakes bounds the findings about an application's messages.
const maxMistakes = 5

// listenEvents begins to receive everything that is published in Redis, and
// returns a function that waits until that has ended and returns the findings.
func listenEvents(ctx context.Context, cfg *config.Config, s *app.Settings, d time.Duration) (wait func() []source.Finding) {
	if cfg.PusherKey == "" || cfg.IsEmbedded() || d <= 0 {
		return func() []source.Finding { return nil }
	}
	result := make(chan []source.Finding, 1)
	go func() { result <- checkEvents(ctx, cfg, s, d) }()
	return func() []source.Finding { return <-result }
}

// checkEvents compares the events that the application publishes meanwhile with
// the settings: the relay itself does not receive names that match no pattern.
func checkEvents(ctx context.Context, cfg *config.Config, s *app.Settings, d time.Duration) []source.Finding {
	client, err := source.NewClient(s.Redis, s.Access.Names)
	if err != nil {
		return nil // [source.Check] reports it
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	j := newEventJudge(cfg, s)
	if !overhear(ctx, client, j.hear) {
		return []source.Finding{{Subject: "published events", Text: "not examined: it needs +psubscribe and &*"}}
	}
	return j.result(d)
}

// overhear calls hear for everything that is published until ctx ends. It reports
// false if Redis does not allow that.
func overhear(ctx context.Context, client redis.UniversalClient, hear func(name string, payload []byte)) bool {
	everything := client.PSubscribe(ctx, "*")
	defer everything.Close()
	defer context.AfterFunc(ctx, func() { _ = everything.Close() })() // a canceled ctx does not end a read
	if _, err := everything.Receive(ctx); err != nil {
		return false
	}
	for {
		message, err := everything.ReceiveMessage(ctx)
		if err != nil {
			return true
		}
		hear(message.Channel, []byte(message.Payload))
	}
}

// An eventJudge compares published messages with the settings.
type eventJudge struct {
	rules  *access.Rules
	prefix string // SIDECAST_CHANNEL_PREFIX

	relayed  int // events
	mistakes []source.Finding
	seen     map[string]bool // the advice in mistakes
}

func newEventJudge(cfg *config.Config, s *app.Settings) *eventJudge {
	return &eventJudge{rules: s.Access, prefix: cfg.ChannelPrefix, seen: make(map[string]bool)}
}

// hear examines one message by its name in Redis.
func (j *eventJudge) hear(name string, payload []byte) {
	if strings.Contains(name, access.DefaultKeyPrefix) || j.rules.Names.Reserved(name) {
		return
	}
	channel, prefixed := j.rules.Names.Channel([]byte(name))
	relayed := prefixed && j.rules.Relayed(string(channel)) == protocol.CodeOK
	e, isEvent := protocol.ParseEnvelope(payload)
	isEvent = isEvent && e.Data != nil
	guess := trace.LibraryPrefix(name)
	switch {
	case isEvent && guess != "" && guess != j.prefix && relayed:
		j.add(source.LevelWarn, fmt.Sprintf("clients receive an event on %q, not on %q", channel, strings.TrimPrefix(name, guess)),
			fmt.Sprintf("if the application calls the channel %q, set SIDECAST_CHANNEL_PREFIX=%s (in Laravel: the prefix in config/database.php, "+
				"or REDIS_PREFIX); otherwise there is nothing to do", strings.TrimPrefix(name, guess), printable(guess)))
	case isEvent && guess != "" && guess != j.prefix:
		j.add(source.LevelWarn, fmt.Sprintf("the application publishes an event to %q, and no client receives it as %q", name, strings.TrimPrefix(name, guess)),
			fmt.Sprintf("set SIDECAST_CHANNEL_PREFIX=%s (in Laravel: the prefix in config/database.php, or REDIS_PREFIX)", printable(guess)))
	case isEvent && !prefixed:
		j.add(source.LevelWarn, fmt.Sprintf("the application publishes an event to %q, which does not begin with SIDECAST_CHANNEL_PREFIX", name),
			"unset SIDECAST_CHANNEL_PREFIX, or set it to the prefix of the application")
	case isEvent && !relayed:
		j.add(source.LevelWarn, fmt.Sprintf("the application publishes an event to %q, which SIDECAST_CHANNELS does not match", channel),
			fmt.Sprintf("add %q to SIDECAST_CHANNELS", channel))
	case isEvent:
		j.relayed++
	case relayed && len(payload) > 0:
		j.add(source.LevelOK, fmt.Sprintf("a message to %q is not an event of Laravel, "+
			`{"event":..,"data":..,"socket":null}: pages receive it as the event .message`, channel), "")
	}
}

// add adds a finding, unless there is one with the same advice.
func (j *eventJudge) add(level source.Level, text, do string) {
	if !j.seen[do] && len(j.mistakes) < maxMistakes {
		j.seen[do] = true
		j.mistakes = append(j.mistakes, source.Finding{Level: level, Subject: "published events", Text: text, Do: do})
	}
}

func (j *eventJudge) result(d time.Duration) []source.Finding {
	switch {
	case j.relayed > 0:
		j.mistakes = append(j.mistakes, source.Finding{Subject: "published events", Text: fmt.Sprintf("%d on channels that are relayed, within %v", j.relayed, d)})
	case len(j.mistakes) == 0:
		j.mistakes = append(j.mistakes, source.Finding{
			Subject: "published events", Text: fmt.Sprintf("none within %v; to find wrong names, let the application publish while "+
				"`sidecast check --listen 30s` runs (with ShouldBroadcast, it needs a queue worker)", d),
		})
	}
	return j.mistakes
}
