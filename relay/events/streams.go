package events

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
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
	// streamGroup is how many streams are read at once. A page of each is in
	// memory.
	streamGroup = 8
	// judgedMemory is how long Redis remembers up to which entry a stream was
	// judged.
	judgedMemory = 24 * time.Hour
)

// judgeStreams judges the entries of streams to which the nudges in the batch
// refer. Each group of nudges has a timeout of its own: Redis can be far away.
func (u *Unheard) judgeStreams(ctx context.Context, batch []note) bool {
	for group := range streamGroups(batch) {
		if !u.try(ctx, func(ctx context.Context, client redis.UniversalClient) error {
			return u.judgeGroup(ctx, client, group)
		}) {
			return false
		}
	}
	return true
}

// streamGroups returns the nudges in the batch, in groups of different channels.
func streamGroups(batch []note) iter.Seq[[]*nudge] {
	return func(yield func([]*nudge) bool) {
		var group []*nudge
		for i := range batch {
			n := &batch[i]
			if !n.durable {
				continue
			}
			if len(group) == streamGroup || slices.ContainsFunc(group, func(other *nudge) bool { return other.channel == n.channel }) {
				if !yield(group) {
					return
				}
				group = nil
			}
			group = append(group, &nudge{note: n})
		}
		if len(group) > 0 {
			yield(group)
		}
	}
}

// A nudge is a note about a stream whose entries are being judged.
type nudge struct {
	*note
	at       int64  // when it arrived, by Redis's clock
	from, to string // the entries that are left to be judged
	ids      []any  // those that are judged next
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

// judgeGroup judges the entries that were added up to each nudge. The stream can
// be at another server of a cluster than the relays' keys, so a script cannot
// read it.
func (u *Unheard) judgeGroup(ctx context.Context, client redis.UniversalClient, group []*nudge) error {
	var o outcome
	group = u.findPlaces(ctx, client, group, &o)
	for len(group) > 0 {
		group = u.judgeIDs(ctx, client, u.readIDs(ctx, client, group, &o), &o)
	}
	u.cfg.Stats.EventsDropped.Add(o.refused)
	return o.err()
}

// findPlaces finds out which entries are to be judged. Like the functions below,
// it returns the nudges for which there is more to do.
func (u *Unheard) findPlaces(ctx context.Context, client redis.UniversalClient, group []*nudge, o *outcome) (found []*nudge) {
	for i, answer := range runScripts(ctx, client, placeScript, func(run func(keys []string, args ...any)) {
		for _, n := range group {
			run([]string{u.key("judged", n.channel)}, time.Since(n.note.at).Milliseconds())
		}
	}) {
		n := group[i]
		place, err := answer.StringSlice()
		if err == nil && len(place) == 2 {
			n.at, err = strconv.ParseInt(place[0], 10, 64)
		}
		if !o.succeeded(err) {
			continue
		}
		n.from, n.to = strconv.FormatInt(n.at-streamLookback.Milliseconds(), 10), strconv.FormatInt(n.at+streamSlack.Milliseconds(), 10)
		if place[1] != "" {
			n.from = "(" + place[1]
		}
		found = append(found, n)
	}
	return found
}

// readIDs reads the ids of the next entries of each stream.
func (u *Unheard) readIDs(ctx context.Context, client redis.UniversalClient, group []*nudge, o *outcome) (more []*nudge) {
	pages := make([]*redis.XMessageSliceCmd, len(group))
	_, _ = client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, n := range group {
			pages[i] = p.XRangeN(ctx, u.cfg.Names.Redis(n.channel), n.from, n.to, streamPage)
		}
		return nil
	})
	for i, n := range group {
		n.ids = nil
		for _, entry := range pages[i].Val() {
			n.ids = append(n.ids, entry.ID)
		}
		if o.succeeded(pages[i].Err()) && len(n.ids) > 0 {
			more = append(more, n)
		}
	}
	return more
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

// judgeIDs judges the entries that were read.
func (u *Unheard) judgeIDs(ctx context.Context, client redis.UniversalClient, group []*nudge, o *outcome) (more []*nudge) {
	if len(group) == 0 {
		return nil
	}
	answers := runScripts(ctx, client, entriesScript, func(run func(keys []string, args ...any)) {
		for _, n := range group {
			run([]string{u.key("listeners", n.channel), u.key("judged", n.channel), u.cfg.Stream},
				append([]any{n.at, judgeSlack.Milliseconds(), judgedMemory.Milliseconds(), Length, n.channel}, n.ids...)...)
		}
	})
	u.countWritten(answers)
	for i, n := range group {
		if o.succeeded(answers[i].Err()) && len(n.ids) == streamPage {
			n.from = fmt.Sprint("(", n.ids[streamPage-1])
			more = append(more, n)
		}
	}
	return more
}
