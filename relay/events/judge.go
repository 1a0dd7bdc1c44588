package events

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/protocol"
)

const (
	// judgeAfter is the time after which it is certain that the lease of a relay
	// that had a listener is in Redis.
	judgeAfter = 2 * time.Second
	// judgeSpread is the greatest difference between the relays, which would all
	// ask at the same time otherwise.
	judgeSpread = 500 * time.Millisecond
	// judgeSlack is how much later than the message a lease may begin. The two
	// times are measured by different relays.
	judgeSlack = 300 * time.Millisecond
	// noteBytes bounds the messages that wait to be judged, without their
	// payloads.
	noteBytes = 16 << 20
	// noteCharge is the cost of such a message in addition to its texts.
	noteCharge = 128
	// judgeBatch is how many are judged with one round trip.
	judgeBatch = 64
	// oldestNote is how old a message may be when it is judged. A relay whose
	// link was down for so long cannot know any more whether the message was
	// heard, or reported.
	oldestNote = 4 * time.Minute
	// electionMemory is how long Redis remembers a message that was judged. All
	// relays have judged it by then.
	electionMemory = oldestNote + time.Minute
	// localWindow is the time within which equal messages without a common cursor
	// count as one.
	localWindow = 15 * time.Second
)

// A note is a message without a listener at this relay.
type note struct {
	channel string
	durable bool   // it was a nudge: the stream says which messages there are
	cursor  string // of the message; empty if only this relay would understand it
	sum     string // of the message, for relays without a common cursor
	at      time.Time
	epoch   int
}

func (n *note) charge() int { return noteCharge + len(n.channel) + len(n.cursor) + len(n.sum) }

// Message reports a message on a channel that has no subscriber at this relay.
// cursor is empty if other relays would not understand it. The arguments are
// valid during the call only. It does not wait.
func (u *Unheard) Message(channel, payload, cursor []byte) {
	sum := sha256.New()
	sum.Write(channel)
	sum.Write([]byte{0})
	sum.Write(payload)
	u.note(note{channel: string(channel), cursor: string(cursor), sum: hex.EncodeToString(sum.Sum(nil)[:16])})
}

// Nudge reports that the stream of a durable channel that has no subscriber at
// this relay may have new entries. It does not wait, and may be called
// concurrently.
func (u *Unheard) Nudge(channel []byte) {
	if u.Match(channel) {
		u.note(note{channel: string(channel), durable: true})
	}
}

func (u *Unheard) note(n note) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bytes+n.charge() > noteBytes {
		u.cfg.Stats.EventsDropped.Add(1)
		return
	}
	n.at, n.epoch = time.Now(), u.epoch
	u.queue = append(u.queue, n)
	u.bytes += n.charge()
	signal(u.noted)
}

// judge judges messages until ctx ends.
func (u *Unheard) judge(ctx context.Context) {
	for ctx.Err() == nil {
		u.dropOld(time.Now())
		batch, wait := u.nextNotes(time.Now())
		switch {
		case len(batch) > 0:
			if u.judgeAll(ctx, batch) {
				u.removeNotes(len(batch))
			} else {
				sleep(ctx, retryAfter)
			}
		case wait > 0:
			sleep(ctx, wait)
		default:
			select {
			case <-ctx.Done():
			case <-u.noted:
			}
		}
	}
}

// nextNotes returns the messages that can be judged now, or how long to wait for
// the first one; 0 if there is no message.
func (u *Unheard) nextNotes(now time.Time) (batch []note, wait time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.queue[:min(len(u.queue), judgeBatch)] {
		if wait = u.due(&u.queue[i]).Sub(now); wait > 0 {
			return u.queue[:i], wait
		}
	}
	return u.queue[:min(len(u.queue), judgeBatch)], 0
}

// due returns when a message can be judged. Leases may have ended while Redis
// was not available: after that, relays have the time of a lease to write theirs
// again. u is locked.
func (u *Unheard) due(n *note) time.Time {
	due := n.at.Add(judgeAfter + u.spare)
	if again := u.began.Add(leaseTime + u.spare); n.epoch != u.epoch && again.After(due) {
		return again
	}
	return due
}

// dropOld removes the messages that are too old, and counts them.
func (u *Unheard) dropOld(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := slices.IndexFunc(u.queue, func(n note) bool { return now.Sub(n.at) < oldestNote })
	if n < 0 {
		n = len(u.queue)
	}
	u.cfg.Stats.EventsDropped.Add(n)
	u.drop(n)
}

// removeNotes removes the first n messages.
func (u *Unheard) removeNotes(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.drop(n)
}

// drop removes the first n messages. u is locked.
func (u *Unheard) drop(n int) {
	for i := range n {
		u.bytes -= u.queue[i].charge()
		u.queue[i] = note{}
	}
	if u.queue = u.queue[n:]; len(u.queue) == 0 {
		u.queue = nil
	}
}

// coveredScript is the beginning of the scripts that judge. The function says
// whether a lease covers a time.
const coveredScript = `
local function covered(key, at, slack)
  for _, lease in ipairs(redis.call('HVALS', key)) do
    local since, ends = string.match(lease, '^(%d+) (%d+)$')
    if tonumber(since) <= at + slack and tonumber(ends) >= at then
      return true
    end
  end
  return false
end
`

// judgeScript judges one message: if no lease covers its time, the first relay
// that asks writes the event. A relay that knows the message's place in the
// order of all messages names it by this place (KEYS[2]). A relay that was
// connected a moment ago, or that has no markers, names it by its content and
// time (KEYS[3]); the two must not both write an event.
var judgeScript = redis.NewScript(coveredScript + `
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
if covered(KEYS[1], at, tonumber(ARGV[2])) then
  return 0
end
local named, last = string.match(redis.call('GET', KEYS[3]) or '', '^(%a+) (%d+)$')
local known = named and at < tonumber(last) + ARGV[5]
if ARGV[3] ~= '' then
  if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[4]) then
    return 0
  end
  redis.call('SET', KEYS[3], string.format('place %.0f', at), 'PX', ARGV[4])
  if known and named == 'content' then
    return 0
  end
elseif known then
  return 0
else
  redis.call('SET', KEYS[3], string.format('content %.0f', at), 'PX', ARGV[4])
end
local event = {'kind', 'unheard', 'ms', string.format('%.0f', at), 'channel', ARGV[6]}
if ARGV[3] ~= '' then
  event[7], event[8] = 'cursor', ARGV[3]
end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[7], '*', unpack(event))
return 1
`)

// judgeAll judges messages, and reports false if Redis is not there. Then all of
// them must be judged again: Redis remembers those that it has judged.
func (u *Unheard) judgeAll(ctx context.Context, batch []note) bool {
	ctx = context.WithoutCancel(ctx)
	return u.try(ctx, func(ctx context.Context, client redis.UniversalClient) error {
		return u.judgeLive(ctx, client, batch)
	}) && u.judgeStreams(ctx, batch)
}

// try calls f, and reports whether it must not be called again. It logs what
// Redis refuses.
func (u *Unheard) try(ctx context.Context, f func(context.Context, redis.UniversalClient) error) bool {
	ran, err := u.cfg.Redis.try(ctx, f)
	if ran && err != nil && isRefusal(err) {
		u.warnOf(err)
		return true
	}
	return err == nil
}

// judgeLive judges the messages of live channels in one round trip.
func (u *Unheard) judgeLive(ctx context.Context, client redis.UniversalClient, batch []note) error {
	answers := runScripts(ctx, client, judgeScript, func(run func(keys []string, args ...any)) {
		for _, n := range batch {
			if n.durable {
				continue
			}
			run([]string{
				u.key("listeners", n.channel), u.cfg.Names.Internal("unheard:" + placeOf(n.cursor)),
				u.cfg.Names.Internal("unheard:" + n.sum), u.cfg.Stream,
			}, time.Since(n.at).Milliseconds(), judgeSlack.Milliseconds(), n.cursor,
				electionMemory.Milliseconds(), localWindow.Milliseconds(), n.channel, Length)
		}
	})
	u.countWritten(answers)
	var o outcome
	for _, answer := range answers {
		o.succeeded(answer.Err())
	}
	u.cfg.Stats.EventsDropped.Add(o.refused)
	return o.err()
}

// An outcome sums up the answers to commands that do not depend on each other.
type outcome struct {
	failed  error // one that can be sent again; nil if there is none
	refusal error // of one that Redis refuses
	refused int   // how many it refuses
}

// succeeded adds an answer, and reports whether it is not an error.
func (o *outcome) succeeded(err error) bool {
	switch {
	case err == nil:
		return true
	case isRefusal(err):
		o.refusal = err
		o.refused++
	default:
		o.failed = err
	}
	return false
}

// err returns the error that decides whether the commands are sent again.
func (o *outcome) err() error { return cmp.Or(o.failed, o.refusal) }

// countWritten counts the events that scripts have written. They return their
// number.
func (u *Unheard) countWritten(answers []*redis.Cmd) {
	for _, answer := range answers {
		n, _ := answer.Int()
		u.cfg.Stats.EventsWritten[protocol.ReportUnheard].Add(n)
	}
}

// placeOf returns the part of a cursor that is the same at all relays. The other
// part is the server, which relays that may not ask for it choose at random.
func placeOf(cursor string) string {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) < 5 {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(raw[5:])
}

// runScripts runs a script several times in one pipeline, and loads it first if
// Redis does not have it.
func runScripts(
	ctx context.Context, client redis.UniversalClient, script *redis.Script, each func(run func(keys []string, args ...any)),
) (answers []*redis.Cmd) {
	run := func(eval func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd) error {
		answers = nil
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			each(func(keys []string, args ...any) { answers = append(answers, eval(ctx, p, keys, args...)) })
			return nil
		})
		return err
	}
	if err := run(script.EvalSha); isReply(err, "NOSCRIPT") {
		_ = run(script.Eval)
	}
	return answers
}
