package stream

import (
	"errors"
	"sync"
	"time"

	"sidecast/relay/stats"
)

// reportEvery is the shortest time between two log messages of the same kind.
const reportEvery = time.Minute

// reportReadError logs why a stream cannot be read. With most errors no stream
// can be read, so the message does not name a channel.
func (rs *Readers) reportReadError(err error) {
	if _, up := rs.linkState(); !up {
		return // the source has logged that Redis is unavailable
	}
	if n, due := rs.reports.due(reportRead, rs.cfg.Now()); due {
		args := []any{"err", err, "times", n}
		if advised, ok := errors.AsType[Advised](err); ok {
			args = append([]any{"do", advised.Advice()}, args...)
		}
		rs.cfg.Logger.Warn("durable channels cannot be read; their messages are delayed until a read succeeds", args...)
	}
}

// reportNewestError logs why the newest entries of a stream cannot be read.
func (rs *Readers) reportNewestError(err error) {
	if n, due := rs.reports.due(reportNewest, rs.cfg.Now()); due {
		args := []any{"err", err, "times", n}
		if advised, ok := errors.AsType[Advised](err); ok {
			args = append([]any{"do", advised.Advice()}, args...)
		}
		rs.cfg.Logger.Warn("the newest entries of durable channels cannot be read; clients that subscribe with last get an error", args...)
	}
}

// reportSpurious counts and logs n nudges that carried a payload although no
// entry was added to the stream.
func (rs *Readers) reportSpurious(channel string, n int) {
	rs.cfg.Stats.Dropped[stats.DropNudge].Add(n)
	if rs.cfg.Spurious != nil {
		rs.cfg.Spurious(channel)
	}
	if n, due := rs.reports.due(reportNudge, rs.cfg.Now()); due {
		rs.cfg.Logger.Warn("a message was published to a durable channel but not added to its stream; clients do not "+
			"receive it: use XADD, because PUBLISH only announces a new entry", "channel", channel, "times", n)
	}
}

// A report is a kind of log message.
type report uint8

const (
	reportRead report = iota
	reportNewest
	reportNudge
	numReports
)

// limitedReports limits each kind of log message to one in reportEvery, and
// counts how often its cause occurred since the last one. It may be used
// concurrently.
type limitedReports struct {
	mu    sync.Mutex
	count [numReports]int
	until [numReports]int64
}

// due counts one occurrence. If a message is due, it returns how many
// occurrences it covers.
func (l *limitedReports) due(c report, now int64) (times int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[c]++
	if now < l.until[c] {
		return 0, false
	}
	times = l.count[c]
	l.count[c], l.until[c] = 0, now+int64(reportEvery)
	return times, true
}
