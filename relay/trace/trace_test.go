package trace

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var (
	began  = time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	server = Redis{Address: "10.0.0.5:6379", RunID: "4ad3", DB: 0}
)

// newTrace returns a trace that listens to everything.
func newTrace(t testing.TB, channel string, settings ...string) *Trace {
	trace := New(newSettings(t, settings...).Explain(channel), server, began)
	trace.Listening(began, true)
	return trace
}

// shown returns lines as in [text], with the source and the kind of each.
func shown(lines []Line) string {
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&b, "%s %s: %s", line.From, line.Kind, text([]Sentence{line.Sentence}))
	}
	return b.String()
}

func checkShown(t *testing.T, got, want, not string) {
	t.Helper()
	for part := range strings.Lines(want) {
		if !strings.Contains(got, strings.TrimSpace(part)) {
			t.Errorf("%s\nlacks %s", got, part)
		}
	}
	if want == "" && got != "" || not != "" && strings.Contains(got, not) {
		t.Errorf("%q, want %q and not %q", got, want, not)
	}
}

// What arrives at Redis is compared with the channel.
func TestTraceMessage(t *testing.T) {
	for _, tt := range []struct {
		comment, settings, channel string
		name, payload              string
		want, not                  string
	}{
		{"a message", "", "chat:1", "chat:1", "hello", "redis message: 5 bytes arrive at Redis", "!"},
		{"a failed json_encode", "", "chat:1", "chat:1", "", "! 0 bytes arrive at Redis; the payload is empty -> check the result of json_encode", ""},
		{"false", "", "chat:1", "chat:1", "false", "! 5 bytes arrive at Redis; the payload is the word false", ""},
		{"null", "", "chat:1", "chat:1", "null", "the payload is the word null", ""},
		{"an array that is not encoded", "", "chat:1", "chat:1", "Array", "encode the array: json_encode($data)", ""},
		{"an object that is not encoded", "", "chat:1", "chat:1", "[object Object]", "JSON.stringify", ""},
		{"a text that begins like one of these", "", "chat:1", "chat:1", "nullable", "8 bytes arrive", "!"},
		{"PHP's serialize", "", "chat:1", "chat:1", `a:1:{s:1:"x";i:1;}`, "one of PHP's serializers", ""},
		{"igbinary", "", "chat:1", "chat:1", "\x00\x00\x00\x02\x14", "one of PHP's serializers", ""},
		{"not UTF-8", "", "chat:1", "chat:1", "caf\xe9", "is not UTF-8", ""},
		{"too large", "", "chat:1", "chat:1", strings.Repeat("x", 1<<20+1), "more than SIDECAST_MAX_PAYLOAD_BYTES (1048576)", ""},
		{"a nudge", "", "order:1", "order:1", "", "redis nudge: a PUBLISH arrives", "!"},
		{"a channel that is not relayed", "", "chats:1", "chats:1", "x", "! 1 byte arrives at Redis, and no relay: not relayed\n-> use the name \"chat:1\"", ""},
		{"a reserved name", "CHANNELS=*", "sidecast:x", "sidecast:x", "x", "is a reserved name", ""},
		{"capital letters", "", "chat:1", "Chat:1", "x", `redis near: ! a message arrives on "Chat:1", which differs from "chat:1" by capital letters`, ""},
		{"another separator", "", "chat:1", "chat.1", "x", "by a separator", ""},
		{"one character", "", "chat:1", "chats:1", "x", "by one character", ""},
		{"a prefix that is not set", "", "chat:1", "app_chat:1", "x", "set SIDECAST_CHANNEL_PREFIX=app_", ""},
		{"a prefix with blanks", "", "chat:1", "my app:chat:1", "x", "set SIDECAST_CHANNEL_PREFIX='my app:'", ""},
		{"a prefix of Laravel", "", "private-a", "laravel_database_private-a", "x", "set SIDECAST_CHANNEL_PREFIX=laravel_database_", ""},
		{"another prefix than the set one", "PREFIX=app_", "chat:1", "app2_chat:1", "x", `"chat:1" with the prefix "app2_"`, ""},
		{"the prefix is missing", "PREFIX=app_", "chat:1", "chat:1", "x", `without SIDECAST_CHANNEL_PREFIX: the relay expects "app_chat:1"`, ""},
		{"with the prefix", "PREFIX=app_", "chat:1", "app_chat:1", "hello", "5 bytes arrive", "!"},
		{"another channel", "", "chat:1", "chat:2", "x", "", ""},
		{"a marker", "", "chat:1", "sidecast:mark", "x", "", ""},
		{"a keyspace event", "", "chat:1", "__keyevent@0__:set", "chat:1", "", ""},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			trace := newTrace(t, tt.channel, strings.Fields(tt.settings)...)
			checkShown(t, shown(trace.Message(began, tt.name, []byte(tt.payload))), tt.want, tt.not)
		})
	}
}

// A payload of a stream's entry is examined, too.
func TestTraceEntry(t *testing.T) {
	trace := newTrace(t, "order:1")
	checkShown(t, shown(trace.Entry(began, "5-1", []byte("x"), false)), "redis entry: the entry 5-1 is added", "!")
	checkShown(t, shown(trace.Entry(began, "5-2", nil, false)), "! the entry 5-2 is added to the stream; the payload is empty", "")
	checkShown(t, shown(trace.Entry(began, "5-3", nil, true)), "larger than SIDECAST_MAX_PAYLOAD_BYTES", "")
}

// Time passes, and something has not happened.
func TestTraceTick(t *testing.T) {
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	message := func(trace *Trace) { trace.Message(began, trace.e.Redis, []byte("x")) }
	for _, tt := range []struct {
		comment, channel string
		before           func(*Trace)
		seconds          int
		want, not        string
	}{
		{"silence begins", "chat:1", func(*Trace) {}, 4, "", ""},
		{"silence", "chat:1", func(*Trace) {}, 6, "! nothing has arrived on \"chat:1\", nor on any other channel, at 10.0.0.5:6379\n" +
			"(compare: here run_id is 4ad3; in PHP, echo $redis->info('server')['run_id'])\nNOPERM", "database"},
		{"others are heard", "chat:1", func(t *Trace) { t.Message(began, "news", nil) }, 6, "at 10.0.0.5:6379, and 1 message on other channels", ""},
		{"only the channel is heard", "chat:1", func(t *Trace) { t.Listening(began, false) }, 6, `nothing has arrived on "chat:1" at 10.0.0.5:6379`, "other channel"},
		{"silence on a stream", "order:1", func(*Trace) {}, 6, "a stream must also be in database 0", ""},
		{"silence is over", "chat:1", message, 6, "", ""},
		{"silence is mentioned once", "chat:1", func(t *Trace) { t.Tick(at(6)) }, 12, "", ""},
		{"PUBLISH without XADD", "order:1", message, 3, "redis no_entry: ! a PUBLISH on the durable channel \"order:1\" without a new entry\n" +
			"run XADD order:1 '*' data PAYLOAD first, in database 0", ""},
		{"two of them", "order:1", func(t *Trace) { message(t); message(t) }, 3, "delivers nothing (2 times)", ""},
		{"PUBLISH, and the entry is seen late", "order:1", func(t *Trace) { message(t); t.Entry(at(1), "5-1", []byte("x"), false); message(t) }, 3, "", ""},
		{"the entry is seen first", "order:1", func(t *Trace) { t.Entry(at(-1), "5-1", []byte("x"), false); message(t) }, 3, "", ""},
		{"several entries and one PUBLISH", "order:1", func(t *Trace) {
			t.Entry(began, "5-1", []byte("x"), false)
			t.Entry(began, "5-2", []byte("x"), false)
			message(t)
		}, 3, "", ""},
		{"an entry long before", "order:1", func(t *Trace) { t.Entry(at(-9), "5-1", []byte("x"), false); message(t) }, 3, "no_entry", ""},
		{"XADD without PUBLISH", "order:1", func(t *Trace) { t.Entry(began, "5-1", []byte("x"), false) }, 3, "redis no_nudge: ! no PUBLISH follows the entry\nPUBLISH order:1 ''", ""},
		{"a relay that receives nothing", "chat:1", func(t *Trace) { t.Follow("http://r", began); message(t); message(t) }, 4,
			"http://r not_received: ! the relay has not received 2 messages that arrived at Redis", ""},
		{"a relay that has received it", "chat:1", func(t *Trace) {
			t.Follow("http://r", began)
			message(t)
			t.Relay("http://r", Event{Kind: EventMessage})
		}, 4, "", ""},
		{"a relay that has gone", "chat:1", func(t *Trace) { t.Follow("http://r", began); message(t); t.Unfollow("http://r") }, 4, "", ""},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			trace := newTrace(t, tt.channel)
			tt.before(trace)
			checkShown(t, shown(trace.Tick(at(tt.seconds))), tt.want, tt.not)
		})
	}
}

// What a relay does makes a line.
func TestTraceRelay(t *testing.T) {
	for _, tt := range []struct {
		comment, settings string
		event             Event
		want, not         string
	}{
		{"sent", "", Event{Kind: EventMessage, Listeners: 3, Protocols: map[string]int{"v1": 2, "raw": 1}}, "r message: sent to 3 clients (1 raw, 2 v1)", "!"},
		{"sent to an unknown kind", "", Event{Kind: EventMessage, Listeners: 1}, "r message: sent to 1 client", "!"},
		{"nobody", "", Event{Kind: EventMessage}, "! relayed, but nobody listens -> open the page", ""},
		{"too large", "", Event{Kind: EventTooLarge, Listeners: 1}, "! too large: 1 client gets a gap", ""},
		{"dropped because of its name", "", Event{Kind: EventDropped, Reason: "reserved"}, "! the relay drops the message, because its name is reserved -> use a name", ""},
		{"a nudge without an entry", "", Event{Kind: EventDropped, Reason: "nudge"}, "! the relay finds no new entry: a PUBLISH on the durable channel", ""},
		{"dropped", "", Event{Kind: EventDropped, Reason: "overlap"}, "! the relay drops the message: overlap", ""},
		{"a client", "", Event{Kind: EventJoin, User: "42", Protocol: "v1"}, `the user "42" (v1) subscribes`, "!"},
		{"a client leaves", "", Event{Kind: EventLeave}, `a client leaves`, "!"},
		{"everybody is refused", "PUBLIC=", Event{Kind: EventRefused, Reason: "forbidden"}, "! a client is refused: forbidden\n-> add \"chat:1\" to SIDECAST_PUBLIC_CHANNELS", ""},
		{"one user is refused", "PUBLIC= LOGIN=SIDECAST_AUTH_URL", Event{Kind: EventRefused, User: "7", Reason: "forbidden"},
			"! the user \"7\" is refused: forbidden\n-> the channel is open to clients whose login grants it: SIDECAST_AUTH_URL", ""},
		{"a client may not publish", "", Event{Kind: EventRefused, Command: "publish", Reason: "forbidden"}, "! a client may not publish: forbidden -> SIDECAST_PUBLISH_CHANNELS", ""},
		{"evicted", "", Event{Kind: EventEvicted}, "reads too slowly", ""},
		{"a gap", "", Event{Kind: EventGap, Reason: "history"}, "are notified: history", ""},
		{"Redis is lost", "", Event{Kind: EventLinkDown}, "! the relay loses its connection", ""},
		{"Redis is back", "", Event{Kind: EventLinkUp}, "connected to Redis again", "!"},
		{"a client of a similar name", "", Event{Kind: EventJoin, Channel: "chat.1", How: LikeSeparator}, `! a client subscribes to "chat.1", which differs from "chat:1" by a separator`, ""},
		{"one that is refused", "", Event{Kind: EventRefused, Channel: "Chat:1", How: LikeCase, Reason: "forbidden"}, `a client is refused "Chat:1"`, ""},
		{"a message of a similar name", "", Event{Kind: EventMessage, Channel: "chat.1", How: LikeSeparator}, "", ""},
		{"a nudge", "", Event{Kind: EventNudge}, "", ""},
		{"too much", "", Event{Kind: EventMissed}, "some lines are missing", ""},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			trace := newTrace(t, "chat:1", strings.Fields(tt.settings)...)
			trace.Follow("r", began)
			checkShown(t, shown(trace.Relay("r", tt.event)), tt.want, tt.not)
		})
	}
}

func TestTraceSummary(t *testing.T) {
	for _, tt := range []struct {
		comment, channel string
		before           func(*Trace)
		want, not        string
	}{
		{"nothing", "chat:1", func(*Trace) {}, "! 0 messages arrived at Redis\n-> if the application publishes now", ""},
		{"all is well", "chat:1", func(t *Trace) {
			t.Follow("a", began)
			t.Follow("b", began)
			for range 12 {
				t.Message(began, "chat:1", []byte("x"))
				t.Relay("a", Event{Kind: EventMessage, Listeners: 2})
				t.Relay("b", Event{Kind: EventMessage, Listeners: 1})
			}
		}, "trace summary: 12 messages arrived at Redis, 12 relayed, 3 clients listened", "!"},
		{"nobody listens", "chat:1", func(t *Trace) {
			t.Follow("a", began)
			t.Message(began, "chat:1", []byte("x"))
			t.Relay("a", Event{Kind: EventMessage})
		}, "! 1 message arrived at Redis, 1 relayed, 0 clients listened", ""},
		{"everybody refused", "chat:1", func(t *Trace) {
			t.Follow("a", began)
			t.Relay("a", Event{Kind: EventRefused})
			t.Relay("a", Event{Kind: EventRefused})
		}, "0 clients listened, 2 refused", ""},
		{"other names", "chat:1", func(t *Trace) {
			t.Message(began, "Chat:1", []byte("x"))
			t.Message(began, "Chat:1", []byte("x"))
		}, `0 messages arrived at Redis, 2 on "Chat:1"`, ""},
		{"a stream", "order:1", func(t *Trace) {
			t.Entry(began.Add(-time.Hour), "5-1", []byte("x"), false)
			t.Message(began, "order:1", nil)
			t.Message(began, "order:1", nil)
			t.Tick(began.Add(time.Minute))
		}, "! 1 entry was added to the stream, 2 PUBLISH without an entry", ""},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			trace := newTrace(t, tt.channel)
			tt.before(trace)
			checkShown(t, shown(trace.Summary(began)), tt.want, tt.not)
		})
	}
}

// The same advice is given once, and only so many names are remembered and
// shown.
func TestTraceIsBounded(t *testing.T) {
	trace := newTrace(t, "chat:1")
	first, again := trace.Message(began, "Chat:1", nil), trace.Message(began, "cHat:1", nil)
	if first[0].Do == "" || again[0].Do != "" {
		t.Errorf("the advice is %q and then %q", first[0].Do, again[0].Do)
	}
	lines := 0
	for i := range 100 * maxNearNames {
		lines += len(trace.Message(began, fmt.Sprintf("app%d:chat:1", i%1000), []byte("x")))
	}
	if lines > maxNearNames*shownOften || len(trace.near) != maxNearNames || len(trace.advised) > maxAdvice {
		t.Errorf("%d lines, %d names, %d texts", lines, len(trace.near), len(trace.advised))
	}
}
