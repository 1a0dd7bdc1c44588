package control

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
)

const (
	// secondsBelow is the score from which on a score is in milliseconds: they
	// were that many in 1973, and seconds will be in the year 5138.
	secondsBelow = 100_000_000_000
	// forever stands for infinity.
	forever = 1 << 62
	// overlap is how much older than the newest entry one may be that is written
	// after it: the clocks of application servers differ.
	overlap = 5 * time.Minute
	// pageSize is how many entries are read at once.
	pageSize = 10_000
)

// parseRevocation parses an entry of the sorted set. seconds reports that its
// score was not in milliseconds.
func parseRevocation(entry redis.Z) (revoked access.Revocation, seconds, ok bool) {
	member, _ := entry.Member.(string)
	kind, name, _ := strings.Cut(member, ":")
	for i, known := range access.SubjectKinds {
		if kind == known && name != "" {
			revoked.Subject = access.Subject{Kind: access.SubjectKind(i), Name: name}
			revoked.Ms, seconds = milliseconds(entry.Score)
			return revoked, seconds, true
		}
	}
	return revoked, false, false
}

// milliseconds returns a score as a time in milliseconds. One in seconds stands
// for the whole second.
func milliseconds(score float64) (ms int64, seconds bool) {
	if seconds = score < secondsBelow; seconds {
		score = math.Floor(score)*1000 + 999
	}
	return int64(min(max(score, -forever), forever)), seconds
}

// A span is a range of scores, in the syntax of ZRANGEBYSCORE.
type span struct{ from, to string }

// everything is the span of all scores.
var everything = []span{{"-inf", "+inf"}}

// since returns the spans of the entries from a time on, which may be written in
// seconds.
func since(ms int64) []span {
	seconds := span{formatScore(float64(ms / 1000)), "(" + strconv.Itoa(secondsBelow)}
	return []span{seconds, {formatScore(float64(max(ms, secondsBelow))), "+inf"}}
}

// before returns the spans of the entries before a time.
func before(ms int64) []span {
	return []span{
		{"-inf", "(" + formatScore(float64(ms/1000))},
		{strconv.Itoa(secondsBelow), "(" + formatScore(float64(ms))},
	}
}

// formatScore returns a score as Redis writes it.
func formatScore(score float64) string {
	return strings.ToLower(strconv.FormatFloat(score, 'f', -1, 64))
}

// readSpan reads the entries in a span, page by page. Entries that are added or
// removed meanwhile do not shift the pages, because each begins at the score at
// which the last one ended.
func readSpan(ctx context.Context, client redis.UniversalClient, key string, s span, handle func([]redis.Z)) error {
	for skip := 0; ; {
		page, err := client.ZRangeByScoreWithScores(ctx, key, &redis.ZRangeBy{
			Min: s.from, Max: s.to, Offset: int64(skip), Count: pageSize,
		}).Result()
		if err != nil {
			return err
		}
		handle(page)
		if len(page) < pageSize {
			return nil
		}
		last := page[len(page)-1].Score
		equal := 0
		for equal < len(page) && page[len(page)-1-equal].Score == last {
			equal++
		}
		if from := formatScore(last); equal < len(page) || from != s.from {
			skip, s.from = equal, from
		} else {
			skip += equal
		}
	}
}
