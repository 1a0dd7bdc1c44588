package trace

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sidecast/relay/access"
)

const (
	// silence is after what time without a message something is said.
	silence = 5 * time.Second
	// entryTime is how long the entry of a nudge may take to be seen.
	entryTime = 2 * time.Second
	// relayTime is how long a relay may take to report a message.
	relayTime = 3 * time.Second
	// maxNearNames bounds how many similar names are remembered.
	maxNearNames = 100
	// shownOften is how often the same similar name is shown.
	shownOften = 5
	// maxAdvice bounds how many texts are remembered that were said.
	maxAdvice = 1000
)

// A Line is one thing to show to people. Its JSON form is what `sidecast trace
// --json` prints.
type Line struct {
	At      time.Time `json:"at"`
	From    string    `json:"from"` // redis, trace, or the admin listener of a relay
	Kind    string    `json:"kind"`
	Channel string    `json:"channel,omitempty"`
	Size    int       `json:"size"`
	Sentence
	Event *Event `json:"event,omitempty"` // of a relay
}

// A Redis identifies the server on which a [Trace] listens.
type Redis struct {
	Address string
	RunID   string // empty if the server does not say it
	DB      int
}

// A Trace follows the messages of one channel: it gets what arrives at Redis and
// what relays do, and says what goes wrong. Only one goroutine at a time may use
// it.
type Trace struct {
	e     *Explanation
	redis Redis
	// everything says that all messages at Redis are seen, and not only those of
	// the channel.
	everything bool

	relays  map[string]*relayCount // by address; those that are followed
	began   time.Time
	silent  bool // the silence was mentioned
	advised map[string]bool

	arrived, others  int
	nudges           []time.Time // PUBLISHes on the durable channel, until an entry should have been seen
	unannounced      time.Time   // of an entry, until a PUBLISH should have been seen
	lastNudge        time.Time
	lastEntry        time.Time
	entries          int
	near             map[string]int
	refused, evicted int
	withoutEntry     int
}

// New returns a trace of the channel that an explanation is about. redis is
// empty if only relays are followed.
func New(e *Explanation, redis Redis, now time.Time) *Trace {
	return &Trace{
		e: e, redis: redis, began: now,
		relays: make(map[string]*relayCount), advised: make(map[string]bool), near: make(map[string]int),
	}
}

// line returns a line. What helps is said once.
func (t *Trace) line(at time.Time, from, kind, channel string, says Sentence) Line {
	if says.Do != "" && t.advised[says.Do] {
		says.Do = ""
	}
	if len(t.advised) < maxAdvice {
		t.advised[says.Do] = true
	}
	return Line{At: at, From: from, Kind: kind, Channel: channel, Sentence: says}
}

// Listening says that the trace gets what arrives at Redis from now on:
// everything, or only the messages of the channel.
func (t *Trace) Listening(at time.Time, everything bool) []Line {
	t.everything, t.began = everything, at
	what := "everything"
	if !everything {
		what = fmt.Sprintf("%q only", t.e.Redis)
	}
	says := Sentence{Text: fmt.Sprintf("listening at %s to %s%s", t.redis.Address, what, t.compare())}
	return []Line{t.line(at, "redis", "listening", t.e.Channel, says)}
}

// Message handles a message that has arrived at Redis.
func (t *Trace) Message(at time.Time, name string, payload []byte) (lines []Line) {
	if name != t.e.Redis {
		return t.other(at, name)
	}
	t.arrived++
	says := Sentence{Text: fmt.Sprintf("%s %s at Redis", count(len(payload), "byte"), arrive(len(payload)))}
	kind := "message"
	switch {
	case t.e.Relayed == RelayedDurable:
		kind, says.Text = "nudge", "a PUBLISH arrives at Redis: the relay reads the stream"
		t.nudges = append(t.nudges, at)
		t.lastNudge = at
	case t.e.Relayed == RelayedLive:
		for _, r := range t.relays {
			if !r.gone {
				r.owed = append(r.owed, at)
			}
		}
		if bad := checkPayload(payload, t.e.MaxPayload); bad.Wrong {
			bad.Text = says.Text + "; " + bad.Text
			says = bad
		}
	default:
		reason := t.e.Says[0]
		says = Sentence{Text: says.Text + ", and no relay: " + reason.Text, Do: reason.Do, Wrong: true}
	}
	line := t.line(at, "redis", kind, t.e.Channel, says)
	line.Size = len(payload)
	return append(lines, line)
}

func arrive(n int) string {
	if n == 1 {
		return "arrives"
	}
	return "arrive"
}

// other handles a message on another name.
func (t *Trace) other(at time.Time, name string) []Line {
	if isInternal(name) {
		return nil
	}
	t.others++
	says := t.nearMiss(name)
	if says.Text == "" {
		return nil
	}
	n, known := t.near[name]
	if !known && len(t.near) >= maxNearNames {
		return nil
	}
	t.near[name] = n + 1
	if n >= shownOften && (n+1)%1000 != 0 {
		return nil
	}
	return []Line{t.line(at, "redis", "near", name, says)}
}

// isInternal reports whether a name in Redis is one of the relays or of Redis
// itself.
func isInternal(name string) bool {
	return strings.Contains(name, access.DefaultKeyPrefix) || strings.HasPrefix(name, "__")
}

// nearMiss says how a name in Redis differs from that of the channel, if it is
// probably a mistake for it.
func (t *Trace) nearMiss(name string) Sentence {
	prefix := strings.TrimSuffix(t.e.Redis, t.e.Channel)
	switch how := Compare(name, t.e.Redis); {
	case prefix != "" && name == t.e.Channel:
		return Sentence{
			Text: fmt.Sprintf("a message arrives on %q, without SIDECAST_CHANNEL_PREFIX: the relay expects %q", name, t.e.Redis),
			Do:   "unset SIDECAST_CHANNEL_PREFIX, or let the application add this prefix, for example with Redis::OPT_PREFIX", Wrong: true,
		}
	case extraPrefix(name, t.e.Channel) != "":
		extra := extraPrefix(name, t.e.Channel)
		return Sentence{
			Text: fmt.Sprintf("a message arrives on %q: %q with the prefix %q", name, t.e.Channel, extra),
			Do: fmt.Sprintf("if a library adds this prefix to every name (Redis::OPT_PREFIX of phpredis, the prefix in Laravel's config/database.php), "+
				"set SIDECAST_CHANNEL_PREFIX=%s", quoteArgument(extra)), Wrong: true,
		}
	case how != Unlike:
		return Sentence{
			Text: fmt.Sprintf("a message arrives on %q, which differs from %q by %s", name, t.e.Redis, how.by()),
			Do:   "use the same name in the application and in the page", Wrong: true,
		}
	}
	return Sentence{}
}

// Entry handles a new entry in the stream of a durable channel.
func (t *Trace) Entry(at time.Time, id string, payload []byte, tooLarge bool) []Line {
	t.entries++
	t.lastEntry = at
	if t.unannounced.IsZero() {
		t.unannounced = at
	}
	says := Sentence{Text: fmt.Sprintf("the entry %s is added to the stream", id)}
	switch {
	case tooLarge:
		says = Sentence{Text: says.Text + "; it is larger than SIDECAST_MAX_PAYLOAD_BYTES, so clients get a gap", Do: "add less, or raise the setting", Wrong: true}
	default:
		if bad := checkPayload(payload, 0); bad.Wrong {
			bad.Text = says.Text + "; " + bad.Text
			says = bad
		}
	}
	line := t.line(at, "redis", "entry", t.e.Channel, says)
	line.Size = len(payload)
	return []Line{line}
}

// Tick says which events are overdue.
func (t *Trace) Tick(now time.Time) (lines []Line) {
	if t.e.Relayed == RelayedDurable {
		lines = append(lines, t.tickStream(now)...)
	}
	for _, relay := range slices.Sorted(maps.Keys(t.relays)) {
		if r := t.relays[relay]; len(r.owed) > 0 && now.Sub(r.owed[0]) > relayTime {
			lines = append(lines, t.line(now, relay, "not_received", t.e.Channel, t.notReceived(len(r.owed))))
			r.owed = nil
		}
	}
	if t.arrived+t.entries == 0 && !t.silent && now.Sub(t.began) > silence {
		t.silent = true
		lines = append(lines, t.line(now, "trace", "silence", t.e.Channel, t.nothing()))
	}
	return lines
}

// tickStream says that a PUBLISH came without an entry, or an entry without a
// PUBLISH. The stream is read at intervals, so which one is seen first means
// nothing.
func (t *Trace) tickStream(now time.Time) (lines []Line) {
	without := 0
	for ; len(t.nudges) > 0 && now.Sub(t.nudges[0]) > entryTime; t.nudges = t.nudges[1:] {
		if t.nudges[0].Sub(t.lastEntry) > entryTime {
			without++
		}
	}
	if without > 0 {
		t.withoutEntry += without
		lines = append(lines, t.line(now, "redis", "no_entry", t.e.Channel, t.noEntry(without)))
	}
	if t.unannounced.IsZero() || now.Sub(t.unannounced) <= entryTime {
		return lines
	}
	if t.unannounced.Sub(t.lastNudge) > entryTime {
		lines = append(lines, t.line(now, "redis", "no_nudge", t.e.Channel, Sentence{
			Text: "no PUBLISH follows the entry, so the relay finds it only when it checks its streams, unless Redis has keyspace events for streams",
			Do:   fmt.Sprintf("after XADD, run PUBLISH %s ''", quoteArgument(t.e.Redis)), Wrong: true,
		}))
	}
	t.unannounced = time.Time{}
	return lines
}

// notReceived says that messages have not reached a relay.
func (t *Trace) notReceived(n int) Sentence {
	return Sentence{
		Text: fmt.Sprintf("the relay has not received %s that arrived at Redis (%s)", count(n, "message"), t.redis.Address),
		Do: "check that the relay uses this Redis, with the same SIDECAST_CHANNEL_PREFIX, and that its user has the right to the pattern: " +
			"run `sidecast check` with the relay's settings", Wrong: true,
	}
}

// noEntry says that a PUBLISH, or more of them, came without an entry.
func (t *Trace) noEntry(n int) Sentence {
	text := fmt.Sprintf("a PUBLISH on the durable channel %q without a new entry in its stream delivers nothing", t.e.Channel)
	if n > 1 {
		text += fmt.Sprintf(" (%d times)", n)
	}
	return Sentence{
		Text: text,
		Do: fmt.Sprintf("run XADD %s '*' data PAYLOAD first, in database %d of this server, or remove the pattern from SIDECAST_DURABLE_CHANNELS",
			quoteArgument(t.e.Redis), t.redis.DB), Wrong: true,
	}
}

// OtherDatabase says that the stream of a durable channel is in another
// database.
func (t *Trace) OtherDatabase(now time.Time, db int) []Line {
	return []Line{t.line(now, "redis", "other_database", t.e.Channel, Sentence{
		Text: fmt.Sprintf("the stream %q is in database %d, and the relay reads database %d", t.e.Redis, db, t.redis.DB),
		Do: fmt.Sprintf("let the application use database %d, or set the relay's to %d: SIDECAST_REDIS_URL=redis://host:6379/%d",
			t.redis.DB, db, db), Wrong: true,
	})}
}

// nothing says what to check if no message arrives.
func (t *Trace) nothing() Sentence {
	says := Sentence{Text: fmt.Sprintf("nothing has arrived on %q", t.e.Redis), Wrong: true}
	switch {
	case t.redis.Address == "":
		says.Text += " at the relay"
	case !t.everything:
		says.Text += fmt.Sprintf(" at %s", t.redis.Address)
	case t.others == 0:
		says.Text += fmt.Sprintf(", nor on any other channel, at %s", t.redis.Address)
	default:
		says.Text += fmt.Sprintf(" at %s, and %s on other channels", t.redis.Address, count(t.others, "message"))
	}
	says.Do = "if the application publishes now, it uses another server" + t.compare() +
		", or Redis refuses its PUBLISH (NOPERM, READONLY, a wrong password), which only the application sees: " +
		"look at its log, publish() throws an exception or returns false"
	if t.e.Relayed == RelayedDurable {
		says.Do += fmt.Sprintf("; a stream must also be in database %d", t.redis.DB)
	}
	return says
}

// compare says how the application finds out which server it uses.
func (t *Trace) compare() string {
	if t.redis.RunID == "" {
		return ""
	}
	return fmt.Sprintf(" (compare: here run_id is %s; in PHP, echo $redis->info('server')['run_id'])", t.redis.RunID)
}

// Summary counts the events of the whole trace.
func (t *Trace) Summary(now time.Time) []Line {
	relayed, listeners := 0, 0
	for _, r := range t.relays {
		relayed = max(relayed, r.relayed)
		listeners += r.listeners
	}
	var parts []string
	wrong := false
	if t.redis.Address != "" && t.e.Relayed == RelayedDurable {
		parts = append(parts, fmt.Sprintf("%s added to the stream", countAs(t.entries, "entry was", "entries were")))
		if t.withoutEntry > 0 {
			parts = append(parts, fmt.Sprintf("%d PUBLISH without an entry", t.withoutEntry))
			wrong = true
		}
	} else if t.redis.Address != "" {
		parts = append(parts, count(t.arrived, "message")+" arrived at Redis")
	}
	if len(t.relays) > 0 {
		parts = append(parts, fmt.Sprintf("%d relayed", relayed), count(listeners, "client")+" listened")
	}
	if t.refused > 0 {
		parts = append(parts, fmt.Sprintf("%d refused", t.refused))
	}
	for _, name := range slices.Sorted(maps.Keys(t.near)) {
		parts = append(parts, fmt.Sprintf("%d on %q", t.near[name], name))
	}
	wrong = wrong || t.arrived+t.entries == 0 || len(t.relays) > 0 && listeners == 0
	if len(parts) == 0 {
		parts = []string{"nothing could be followed"}
	}
	says := Sentence{Text: strings.Join(parts, ", "), Wrong: wrong}
	if t.arrived+t.entries == 0 && t.redis.Address != "" && !t.silent {
		says.Do = t.nothing().Do
	}
	return []Line{t.line(now, "trace", "summary", t.e.Channel, says)}
}

// countAs returns a number with the words that follow one, or another number.
func countAs(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
