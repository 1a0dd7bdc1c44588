package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// streamLookback is how long before its nudge an entry may have been added,
	// if the relays do not know up to which one the stream was judged.
	streamLookback = 2 * time.Second
	// streamSlack is how much later than its nudge an entry may appear to be,
	// because times are rounded.
	streamSlack = 5 * time.Millisecond
	// streamPage is how many entries are read at once.
	streamPage = 16
	// judgedMemory is how long Redis remembers up to which entry a stream was
	// judged.
	judgedMemory = 24 * time.Hour
)

// judgeStreams judges the entries of streams to which the nudges in the batch
// refer.
func (u *Unheard) judgeStreams(ctx context.Context, client redis.UniversalClient, batch []note) error {
	for i := range batch {
		if n := &batch[i]; n.durable {
			if err := u.judgeStream(ctx, client, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// placeScript returns when a nudge arrived by Redis's clock, and the entry up to
// which the stream was judged, or "" if that does not count any more.
var placeScript = redis.NewScript(`
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
local judged = redis.call('HMGET', KEYS[1], 'id', 'stale')
local id = judged[1]
if not id or judged[2] == '1' then
  id = ''
end
return {string.format('%.0f', at), id}
`)

// judgeStream judges the entries that were added up to a nudge. The stream can
// be at another server of a cluster than the relays' keys, so a script cannot
// read it.
func (u *Unheard) judgeStream(ctx context.Context, client redis.UniversalClient, n *note) error {
	judged := u.key("judged", n.channel)
	answer, err := placeScript.Run(ctx, client, []string{judged}, time.Since(n.at).Milliseconds()).StringSlice()
	if err != nil {
		return err
	}
	var at int64
	if _, err := fmt.Sscan(answer[0], &at); err != nil {
		return fmt.Errorf("reading the time of a nudge: %w", err)
	}
	from := fmt.Sprint(at - streamLookback.Milliseconds())
	if answer[1] != "" {
		from = "(" + answer[1]
	}
	to := fmt.Sprint(at + streamSlack.Milliseconds())
	for {
		entries, err := client.XRangeN(ctx, u.cfg.Names.Redis(n.channel), from, to, streamPage).Result()
		if err != nil || len(entries) == 0 {
			return err
		}
		ids := make([]any, len(entries))
		for i, entry := range entries {
			ids[i] = entry.ID
		}
		if err := u.judgeEntries(ctx, client, n.channel, at, ids); err != nil || len(entries) < streamPage {
			return err
		}
		from = "(" + entries[len(entries)-1].ID
	}
}

// entriesScript judges entries of a stream, and remembers the last one, so that
// other relays do not judge it again.
var entriesScript = redis.NewScript(coveredScript + `
local function after(id, other)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  local otherMS, otherSeq = string.match(other, '^(%d+)-(%d+)$')
  if ms == otherMS then
    ms, otherMS = seq, otherSeq
  end
  if #ms ~= #otherMS then
    return #ms > #otherMS
  end
  return ms > otherMS
end
local at, written = tonumber(ARGV[1]), 0
local heard = covered(KEYS[1], at, tonumber(ARGV[2]))
local last = redis.call('HGET', KEYS[2], 'id')
for i = 6, #ARGV do
  if not last or after(ARGV[i], last) then
    last = ARGV[i]
    if not heard then
      redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*',
        'kind', 'unheard', 'ms', ARGV[1], 'channel', ARGV[5], 'cursor', last)
      written = written + 1
    end
  end
end
redis.call('HSET', KEYS[2], 'id', last, 'stale', '0')
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return written
`)

func (u *Unheard) judgeEntries(ctx context.Context, client redis.UniversalClient, channel string, at int64, ids []any) error {
	keys := []string{u.key("listeners", channel), u.key("judged", channel), u.cfg.Stream}
	args := append([]any{at, judgeSlack.Milliseconds(), judgedMemory.Milliseconds(), Length, channel}, ids...)
	answer := entriesScript.Run(ctx, client, keys, args...)
	u.countWritten([]*redis.Cmd{answer})
	if err := answer.Err(); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	return nil
}
