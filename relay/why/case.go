package why

import (
	"slices"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/protocol"
)

// A Case has all records of one relay about a channel, in a time.
type Case struct {
	question Question
	messages []message               // on the channel, from the beginning of that time on
	entries  map[blackbox.Place]bool // of a durable channel; false if they are from before that time
	recorded map[entry]bool          // those in messages
	sums     *sums                   // of entries; nil until they are needed
	sessions map[key]*session
	order    []*session // as they appear in the records
	boots    map[uint32]*boot
	refused  []blackbox.Record
	nudges   []blackbox.Record
	dropped  []blackbox.Record
	later    int // how many of the messages came after that time
	ended    int // sessions in order that were dropped
	// Of those that were dropped, although the question is about them: the last
	// one before its time, and the first one after it.
	last, next *session
	others     map[string]int // other channels that had messages in that time, and how many
	oldest     time.Time      // of all records
	newest     time.Time
	newBoot    uint32 // the newest
	live       bool   // the newest one is still running
}

const (
	// maxOthers is how many other channels a case remembers.
	maxOthers = 10_000
	// maxLater is how many messages after the time of the question it remembers:
	// they tell how much was sent after those that it is about.
	maxLater = 200_000
	// maxDropped is how many messages without a number it remembers.
	maxDropped = 100
	// maxUsers is how many users of one session it remembers.
	maxUsers = 16
)

// A key identifies a session.
type key struct{ boot, session uint32 }

// An entry is one of a durable channel that arrived since a start of the relay.
type entry struct {
	boot  uint32
	place blackbox.Place
}

// A message is one that arrived on the channel.
type message struct {
	index    int // in the case
	boot     uint32
	durable  bool
	again    bool // an earlier one is the same entry, perhaps of another boot
	tooLarge bool
	seq      uint64
	place    blackbox.Place
	at       time.Time
	size     int
	heard    int
}

// A boot is what concerns all sessions of one start of the relay.
type boot struct {
	began, last time.Time
	down        []outage
	swapped     [][2]uint64 // numbers of messages on durable channels that were not delivered in this order
}

// An outage is a time without a link to Redis.
type outage struct{ from, to time.Time } // to is zero while it lasts

// A session has all records about it.
type session struct {
	key
	id          blackbox.SessionID
	user        string
	users       []string // whom it had before, or until now, without duplicates
	protocol    uint8
	known       bool      // the records say all subscriptions that it had since they begin
	begun       time.Time // zero: before the records
	subs        []*subscription
	replays     []replay
	own         map[uint64]bool         // by number
	ownReplayed map[blackbox.Place]bool // messages of replays
	awaits      []time.Time
	gaps        []blackbox.Record
	refused     []blackbox.Record
	behind      []slow
	closing     *blackbox.Record
	end         *blackbox.Record
	forgotten   bool // dropped: see Case.drop
}

// A subscription is the time in which a session received the channel.
type subscription struct {
	durable bool
	begun   time.Time // zero: before the records
	start   uint64    // the messages after this one
	ended   bool
	end     uint64 // up to this one, if it has ended
	endedAt time.Time
}

// A replay is a part of the channel that was sent later.
type replay struct {
	other    bool // on another channel
	durable  bool
	at       time.Time
	from, to blackbox.Place
	frames   int
	check    uint32
	joined   bool // sent in one step with the one before
	subs     int  // how many subscriptions to the channel the session had had by then
}

// A slow is a time in which messages waited for the client.
type slow struct {
	seq, streamSeq uint64    // the first ones
	from, to       time.Time // to is zero while they wait
}

// NewCase reads all records.
func NewCase(r *blackbox.Reader, q Question) *Case {
	c := newCase(q, r.Live())
	for record, ok := r.Next(); ok; record, ok = r.Next() {
		if r.Missed() { // the records so far say nothing about those that follow
			c = newCase(q, r.Live())
		}
		record.At = record.At.In(q.From.Location())
		c.add(&record)
	}
	c.endOutages()
	c.compact()
	return c
}

func newCase(q Question, live bool) *Case {
	return &Case{
		question: q, sessions: make(map[key]*session), boots: make(map[uint32]*boot), others: make(map[string]int),
		entries: make(map[blackbox.Place]bool), recorded: make(map[entry]bool), live: live,
	}
}

// endOutages ends the outages of relays that have ended.
func (c *Case) endOutages() {
	for n, b := range c.boots {
		if k := len(b.down); k > 0 && b.down[k-1].to.IsZero() && c.killed(n) {
			b.down[k-1].to = b.last
		}
	}
}

func (c *Case) add(r *blackbox.Record) {
	if c.oldest.IsZero() || r.At.Before(c.oldest) {
		c.oldest = r.At
	}
	if r.At.After(c.newest) {
		c.newest = r.At
	}
	b := c.boots[r.Boot]
	if b == nil {
		b = &boot{began: r.At}
		c.boots[r.Boot] = b
	}
	b.last = r.At
	c.newBoot = max(c.newBoot, r.Boot)
	switch r.Kind {
	case blackbox.KindMessage:
		c.addMessage(r)
	case blackbox.KindNudge:
		if r.Channel == c.question.Channel && c.within(r.At) {
			c.nudges = append(c.nudges, *r)
		}
	case blackbox.KindLinkDown:
		b.down = append(b.down, outage{from: r.At})
	case blackbox.KindLinkUp:
		if n := len(b.down); n > 0 {
			b.down[n-1].to = r.At
		}
	case blackbox.KindSwapped:
		b.swapped = append(b.swapped, [2]uint64{r.Seq, r.StreamSeq})
	case blackbox.KindRefused:
		c.addRefusal(r)
	case blackbox.KindDropped:
		if r.Channel == c.question.Channel && c.within(r.At) && len(c.dropped) < maxDropped {
			c.dropped = append(c.dropped, *r)
		}
	case blackbox.KindGap:
		c.addGap(r)
	default:
		if r.Session != 0 {
			s := c.session(r)
			c.addTo(s, r)
			if s.end != nil {
				c.drop(s)
			}
		}
	}
}

// margin is how long before and after the time of a question things are
// mentioned that may explain it.
const margin = time.Minute

func (c *Case) within(t time.Time) bool { return !t.Before(c.question.From) && !t.After(c.question.To) }
func (c *Case) around(t time.Time) bool {
	return t.After(c.question.From.Add(-margin)) && t.Before(c.question.To.Add(margin))
}

func (c *Case) addMessage(r *blackbox.Record) {
	if r.Channel != c.question.Channel {
		if c.within(r.At) && (len(c.others) < maxOthers || c.others[r.Channel] > 0) {
			c.others[r.Channel]++
		}
		return
	}
	again := r.Durable && c.entries[r.To]
	if r.Durable && !again {
		c.entries[r.To] = !r.At.Before(c.question.From)
	}
	if r.At.Before(c.question.From) || c.isLater(r.At) && c.later >= maxLater {
		return
	}
	if r.Durable {
		c.recorded[entry{r.Boot, r.To}] = true
	}
	if c.isLater(r.At) {
		c.later++
	}
	c.messages = append(c.messages, message{
		index: len(c.messages), boot: r.Boot, durable: r.Durable, again: again, tooLarge: r.TooLarge, seq: r.Seq,
		place: r.To, at: r.At, size: r.Size, heard: r.Heard,
	})
}

func (c *Case) addRefusal(r *blackbox.Record) {
	if r.Session != 0 {
		s := c.session(r)
		if s.user == "" {
			s.setUser(r.User)
		}
	}
	if r.Channel == c.question.Channel && c.around(r.At) && isForReceiving(r) {
		c.refused = append(c.refused, *r)
		if r.Session != 0 {
			s := c.session(r)
			s.refused = append(s.refused, *r)
		}
	}
}

// isForReceiving reports whether a client was refused what it has to do in order
// to receive messages: to connect or to subscribe.
func isForReceiving(r *blackbox.Record) bool {
	return r.Reason == refusedConnection || r.Reason == protocol.CommandSubscribe.String()
}

// refusedConnection is the reason of a client that got no session.
const refusedConnection = "connect"

func (c *Case) addGap(r *blackbox.Record) {
	if r.Channel != "" && r.Channel != c.question.Channel {
		return
	}
	if r.Session != 0 {
		s := c.session(r)
		s.gaps = append(s.gaps, *r)
	}
}

// session returns the session of a record.
func (c *Case) session(r *blackbox.Record) *session {
	k := key{r.Boot, r.Session}
	s := c.sessions[k]
	if s == nil {
		s = &session{key: k}
		c.sessions[k] = s
		c.order = append(c.order, s)
	}
	return s
}

// addTo adds a record of a session to it.
func (c *Case) addTo(s *session, r *blackbox.Record) {
	if r.Channel != "" && r.Channel != c.question.Channel {
		if r.Kind == blackbox.KindReplay {
			s.replays = append(s.replays, replay{other: true, frames: r.Frames, joined: r.Joined})
		}
		return
	}
	switch r.Kind {
	case blackbox.KindBegin, blackbox.KindIs:
		s.id, s.protocol, s.known = r.ID, r.Protocol, true
		s.setUser(r.User)
		if r.Kind == blackbox.KindBegin {
			s.begun = r.At
		}
	case blackbox.KindJoin:
		s.subs = append(s.subs, &subscription{durable: r.Durable, begun: r.At, start: r.Seq})
	case blackbox.KindOn:
		if s.current() == nil {
			s.subs = append(s.subs, &subscription{durable: r.Durable, start: r.Seq})
		}
	case blackbox.KindLeave:
		sub := s.current()
		if sub == nil {
			if len(s.subs) > 0 || len(s.awaits) > 0 {
				return // it was still catching up
			}
			sub = &subscription{durable: r.Durable} // it began before the records
			s.subs = append(s.subs, sub)
		}
		sub.ended, sub.end, sub.endedAt = true, r.Seq, r.At
	case blackbox.KindAwait:
		s.awaits = append(s.awaits, r.At)
	case blackbox.KindReplay:
		s.replays = append(s.replays, replay{
			durable: r.Durable, at: r.At, from: r.From, to: r.To, frames: r.Frames, check: r.Check, joined: r.Joined, subs: s.subsDone(),
		})
	case blackbox.KindOwn:
		s.addOwn(r)
	case blackbox.KindClose:
		s.closing = new(*r)
	case blackbox.KindEnd:
		s.end = new(*r)
	case blackbox.KindBehind:
		s.behind = append(s.behind, slow{seq: r.Seq, streamSeq: r.StreamSeq, from: r.At})
	case blackbox.KindCaughtUp:
		if n := len(s.behind); n > 0 {
			s.behind[n-1].to = r.At
		}
	}
}

// setUser says whose session it is now.
func (s *session) setUser(user string) {
	s.user = user
	if len(s.users) < maxUsers && !slices.Contains(s.users, user) {
		s.users = append(s.users, user)
	}
}

// subsDone returns how many subscriptions have ended.
func (s *session) subsDone() int {
	if s.current() != nil {
		return len(s.subs) - 1
	}
	return len(s.subs)
}

func (s *session) addOwn(r *blackbox.Record) {
	if s.own == nil {
		s.own, s.ownReplayed = make(map[uint64]bool), make(map[blackbox.Place]bool)
	}
	if r.Seq != 0 {
		s.own[r.Seq] = true
	} else {
		s.ownReplayed[r.To] = true
	}
}

// current returns the subscription that has not ended, or nil.
func (s *session) current() *subscription {
	if n := len(s.subs); n > 0 && !s.subs[n-1].ended {
		return s.subs[n-1]
	}
	return nil
}

// A Message is one message of a case.
type Message struct {
	Index int // among those of the relay on the channel
	Place blackbox.Place
	Size  int // bytes
}

// Each calls visit with what happened to each message for each session that may
// have received it, which it names by its id.
func (c *Case) Each(visit func(m Message, session string, result Result)) {
	for i := range c.messages {
		m := &c.messages[i]
		for _, s := range c.order {
			if !c.answers(m, s) {
				continue
			}
			visit(Message{i, m.place, m.size}, s.id.String(), c.judge(m, s).result)
		}
	}
}
