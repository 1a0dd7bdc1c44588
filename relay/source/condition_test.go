package source

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/stream"
)

// refusal is an error reply as go-redis returns it.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {}

var _ redis.Error = refusal("")

// TestAdvice checks the advice for each error that Redis can answer: only a
// missing right leads to the advice to grant it.
func TestAdvice(t *testing.T) {
	tests := []struct {
		reply       string // as Redis 7.0 sends it
		problem, do string // parts of the texts
		transient   bool   // trying again can help
	}{
		// The server serves no commands, or not these.
		{"LOADING Redis is loading the dataset in memory", "loading", "wait", true},
		{"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
			"script", "SCRIPT KILL", true},
		{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
			"without a connection to its master", "at the master", true},
		{"CLUSTERDOWN The cluster is down", "cluster is down", "--cluster check", true},
		{"CLUSTERDOWN Hash slot not served", "slots have no node", "--cluster check", true},
		{"TRYAGAIN Multiple keys request during rehashing of slot", "moving the keys", "wait", true},
		{"ASK 3999 127.0.0.1:6381", "moving the key", "wait", true},
		// The server refuses writes.
		{"OOM command not allowed when used memory > 'maxmemory'.", "maxmemory", "raise maxmemory", true},
		{"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
			"save its data", "Redis's log", true},
		{"READONLY You can't write against a read only replica.", "replica", "at the master", true},
		{"NOREPLICAS Not enough good replicas to write.", "too few replicas", "min-replicas-to-write", true},
		// The server refuses this command.
		{"WRONGTYPE Operation against a key holding the wrong kind of value", "not a stream", "another name", false},
		{"MOVED 3999 127.0.0.1:6381", "another node", "SIDECAST_REDIS_MODE=cluster", false},
		{"ERR unknown command 'XINFO', with args beginning with: ", "lacks a command", "Redis 7.0", false},
		{"ERR Unknown subcommand or wrong number of arguments for 'LINKS'. Try CLUSTER HELP.",
			"lacks a command", "Redis 7.0", false},
		// The first word decides, not a part of it or of the text.
		{"BUSYGROUP Consumer Group name already exists", "connection failed", "Redis's log", false},
		{"ERR not OOM", "connection failed", "Redis's log", false},
		{"NOPERM this user has no permissions to run the 'xinfo|stream' command", "", "grant it", false},
		{"NOPERM No permissions to access the key 'BUSY '", "", "grant it", false},
	}
	for _, test := range tests {
		err := fmt.Errorf("reading: %w", refusal(test.reply))
		problem, _ := explain(err)
		do := advise(err, "grant it")
		if !strings.Contains(problem, test.problem) || !strings.Contains(do, test.do) {
			t.Errorf("%s:\n\t%s; %s", test.reply, problem, do)
		}
		if strings.Contains(do, "grant") && !strings.HasPrefix(test.reply, "NOPERM") {
			t.Errorf("%s: the advice is %q", test.reply, do)
		}
		err = Server{}.streamError(err)
		if errors.Is(err, ErrUnavailable) != test.transient || errors.Is(err, stream.ErrNoStream) == test.transient {
			t.Errorf("%s: the streams return %v", test.reply, err)
		}
		if test.transient && !strings.Contains(err.Error(), test.do) {
			t.Errorf("%s: the streams return no advice: %v", test.reply, err)
		}
	}
}

// warnings returns the warnings about commands that Redis refuses.
func warnings() map[string]func(r *errorReporter, reply string) {
	return map[string]func(r *errorReporter, reply string){
		"PING": func(r *errorReporter, reply string) { r.pingRefused(reply) },
		"ROLE": func(r *errorReporter, reply string) {
			r.roleUnsupported(fmt.Errorf("%w: %w", errRoleUnsupported, refusal(reply)))
		},
		"INFO": func(r *errorReporter, reply string) {
			r.nodeUnsupported(fmt.Errorf("%w: %w", errNodeUnsupported, refusal(reply)))
		},
		"CLUSTER LINKS": func(r *errorReporter, reply string) {
			r.busUnsupported(fmt.Errorf("%w: %w", errBusUnsupported, refusal(reply)))
		},
		"XRANGE": func(r *errorReporter, reply string) {
			r.streamsDenied(access.MustPattern("order:*"), Server{}.streamError(refusal(reply)))
		},
		"XADD":    func(r *errorReporter, reply string) { r.clientAppendFailed(Server{}.streamError(refusal(reply))) },
		"PUBLISH": func(r *errorReporter, reply string) { r.clientPublishFailed(refusal(reply)) },
	}
}

// TestWarningsGiveAdvice checks the same for each warning about a command that
// Redis refuses.
func TestWarningsGiveAdvice(t *testing.T) {
	for name, warn := range warnings() {
		var log strings.Builder
		l := testLink(t, lineSink{new([]string)}, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		warn(&l.reporter, "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.")
		if text := log.String(); !strings.Contains(text, "check Redis's log") || strings.Contains(text, "grant") {
			t.Errorf("%s: a server that cannot save logs %s", name, text)
		}
	}
	for name, warn := range warnings() {
		var log strings.Builder
		l := testLink(t, lineSink{new([]string)}, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		for range 2 {
			warn(&l.reporter, "NOPERM no")
		}
		if text := log.String(); !strings.Contains(text, "grant ") {
			t.Errorf("%s: a missing right logs %s", name, text)
		} else if n := strings.Count(text, "level=WARN"); n != 1 && name != "XRANGE" {
			t.Errorf("%s: a missing right is logged %d times", name, n)
		}
	}
}

// TestAdviceForMovingStreams checks that a missing right to ASKING leads to the
// advice to grant that, and not the rights to read or to write.
func TestAdviceForMovingStreams(t *testing.T) {
	err := Server{}.streamError(refusal("NOPERM this user has no permissions to run the 'asking' command"))
	for _, name := range []string{"XRANGE", "XADD"} {
		var log strings.Builder
		l := testLink(t, lineSink{new([]string)}, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		warnings()[name](&l.reporter, replyOf(err))
		warnings()["XADD"](&l.reporter, "NOPERM no")
		if text := log.String(); !strings.Contains(text, `do="grant +asking"`) || !strings.Contains(text, "grant +xadd") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if advised, ok := errors.AsType[stream.Advised](err); !ok || advised.Advice() != "grant +asking" {
		t.Errorf("%v has no advice", err)
	}
}

// TestWarningsHideThePassword checks the same warnings with servers that repeat
// what they receive.
func TestWarningsHideThePassword(t *testing.T) {
	const password = "s3cretpass"
	all := warnings()
	all["markers"] = func(r *errorReporter, reply string) {
		r.markerSubscriptionDenied(reply)
		r.markerPublishDenied(refusal(reply))
		r.markerPublishFailing(refusal(reply))
	}
	for name, warn := range all {
		for _, reply := range []string{"NOPERM bad request: " + password, "BUSY bad request: " + password, "ERR got " + password} {
			var log strings.Builder
			l := testLink(t, lineSink{new([]string)}, func(c *Config) {
				c.Server.Password = password
				c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			})
			warn(&l.reporter, reply)
			if strings.Contains(log.String(), password) {
				t.Errorf("%s: %s", name, log.String())
			}
		}
	}
}

// TestConditionIsLoggedOnce: the same condition that prevents publishing is not
// logged for each message, and another one is.
func TestConditionIsLoggedOnce(t *testing.T) {
	var log strings.Builder
	l := testLink(t, lineSink{new([]string)}, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for range 3 {
		l.reporter.clientAppendFailed(refusal("OOM command not allowed"))
		l.reporter.clientPublishFailed(refusal("BUSY Redis is busy"))
		l.reporter.clientAppendFailed(ErrUnavailable) // not an answer: the link has logged that it is down
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 2 {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
}
