package blackbox

// A Message describes a message that arrived. On a durable channel, Seq is its
// number among those of all durable channels, and At the id of the entry. At is
// zero if the relay keeps no history.
type Message struct {
	Seq      uint64
	At       Place
	Size     int // bytes
	Heard    int // subscriptions
	TooLarge bool
}

const (
	messageTooLarge = 1 << iota
	messageDurable
)

// Message records a message on a live channel. name may be nil.
func (b *Box) Message(name *Name, channel []byte, m Message) {
	if b == nil {
		return
	}
	w := b.begin(laneMain)
	_, known := w.known(name)
	usual := known && *name&nameCounts != 0 && m.Seq == w.seq+1 && !m.TooLarge
	n := declare(w, name, channel)
	if m.At.Major != w.major {
		w.byte(byte(kindMark))
		w.uint(m.At.Major)
		w.major = m.At.Major
	}
	w.seq = m.Seq
	if name != nil && *name != 0 {
		*name |= nameCounts
	}
	if usual {
		w.open(b, KindMessage, flagUsual)
		w.uint(n)
	} else {
		w.open(b, KindMessage, 0)
		w.uint(n)
		w.byte(byte(bit(m.TooLarge) * messageTooLarge))
		w.uint(m.Seq)
		w.uint(m.At.Minor)
	}
	w.uint(uint64(m.Size))
	w.uint(uint64(m.Heard))
	b.end(w)
}

// Entry records an entry of a durable channel.
func (b *Box) Entry(name *Name, channel string, m Message) {
	if b == nil {
		return
	}
	w := b.begin(laneMain)
	n := declare(w, name, channel)
	w.streamSeq = m.Seq
	w.open(b, KindMessage, 0)
	w.uint(n)
	w.byte(byte(messageDurable | bit(m.TooLarge)*messageTooLarge))
	w.uint(m.Seq)
	w.place(m.At)
	w.uint(uint64(m.Size))
	w.uint(uint64(m.Heard))
	b.end(w)
}

// Nudge records a PUBLISH on a durable channel.
func (b *Box) Nudge(channel []byte, empty bool) {
	if b == nil {
		return
	}
	w := b.begin(laneMain)
	n := declare(w, nil, channel)
	w.open(b, KindNudge, 0)
	w.uint(n<<1 | bit(empty))
	b.end(w)
}

// A Client is one whose session begins.
type Client struct {
	ID                  SessionID
	User                string
	Protocol, Transport uint8
}

// Begin records that a session begins, and returns its number, for other
// records: 0 if b is nil.
func (b *Box) Begin(c Client) (session uint32) {
	if b == nil {
		return 0
	}
	w := b.begin(laneMain)
	b.sessions++
	session = b.sessions
	w.open(b, KindBegin, 0)
	w.client(session, c)
	b.end(w)
	return session
}

// Is records a session that exists, in a census. Its subscriptions follow by
// [Box.On]. A session changes its user when it logs in again.
func (b *Box) Is(session uint32, c Client) {
	if b == nil {
		return
	}
	w := b.begin(laneMain)
	w.census = true
	w.open(b, KindIs, 0)
	w.client(session, c)
	b.end(w)
}

func (w *writer) client(session uint32, c Client) {
	w.uint(uint64(session))
	w.length += copy(w.record[w.length:], c.ID[:])
	writeText(w, c.User)
	w.byte(c.Protocol)
	w.byte(c.Transport)
}

// Join records that a subscription receives the messages after seq.
func (b *Box) Join(session uint32, name *Name, channel string, durable bool, seq uint64) {
	b.sequence(KindJoin, session, name, channel, durable, seq)
}

// On records that a subscription exists, which receives the messages after seq.
func (b *Box) On(session uint32, name *Name, channel string, durable bool, seq uint64) {
	b.sequence(KindOn, session, name, channel, durable, seq)
}

// Leave records that a subscription has ended. seq is that of the last message
// that was delivered to its shard.
func (b *Box) Leave(session uint32, name *Name, channel string, durable bool, seq uint64) {
	b.sequence(KindLeave, session, name, channel, durable, seq)
}

// Own records that the session does not receive a message, because it has
// published it: the one with this seq, or in a replay, where seq is 0, the one
// at this place.
func (b *Box) Own(session uint32, channel string, durable bool, seq uint64, at Place) {
	if b == nil {
		return
	}
	w := b.onChannel(KindOwn, session, nil, channel, durable)
	w.uint(seq)
	w.place(at)
	b.end(w)
}

func (b *Box) sequence(kind Kind, session uint32, name *Name, channel string, durable bool, seq uint64) {
	if b == nil {
		return
	}
	w := b.onChannel(kind, session, name, channel, durable)
	w.census = kind == KindOn
	w.uint(seq)
	b.end(w)
}

// Await records that a subscription waits for messages of the past before it
// receives new ones.
func (b *Box) Await(session uint32, name *Name, channel string, durable bool) {
	if b == nil {
		return
	}
	b.end(b.onChannel(KindAwait, session, name, channel, durable))
}

// A Replay describes messages of the past on one channel that were sent to a
// session: those from one place to another, these two included, in so many
// frames. Joined says that they were sent in one step with those of the record
// before. On a durable channel, entries between these places can have been
// deleted: Check is the sum of [Place.Hash] of those that existed.
type Replay struct {
	From, To Place
	Frames   int
	Joined   bool
	Check    uint32
}

// Replay records that messages of the past were sent.
func (b *Box) Replay(session uint32, channel string, durable bool, r Replay) {
	if b == nil {
		return
	}
	w := b.onChannel(KindReplay, session, nil, channel, durable)
	w.place(r.From)
	w.place(r.To)
	w.uint(uint64(r.Frames)<<1 | bit(r.Joined))
	w.uint(uint64(r.Check))
	b.end(w)
}

// Swapped records that the message on a durable channel with the number seq was
// delivered after one with a higher number: those of different channels have no
// order. It concerns no others than those from seq to higher.
func (b *Box) Swapped(seq, higher uint64) {
	if b == nil {
		return
	}
	w := b.begin(laneMain)
	w.open(b, KindSwapped, 0)
	w.uint(seq)
	w.uint(higher - seq)
	b.end(w)
}

// Closing records that the relay closes a session: it receives no message after
// seq, or streamSeq.
func (b *Box) Closing(session, code uint32, seq, streamSeq uint64) {
	if b == nil {
		return
	}
	w := b.begin(laneMain)
	w.open(b, KindClose, 0)
	w.uint(uint64(session))
	w.uint(uint64(code))
	w.uint(seq)
	w.uint(streamSeq)
	b.end(w)
}

// An End describes how a session ended. Lost is the first message on a live
// channel that it did not get, LostStream the first one on a durable channel that
// was meant for it and not written to its connection, or 0.
type End struct {
	Code             uint32
	Lost, LostStream uint64
	LostReplays      int // frames of replays that were not written, the last ones
	Unacknowledged   int // bytes that were written and that the client's kernel had not acknowledged
	Evicted          bool
}

// End records that a session has ended.
func (b *Box) End(session uint32, e End) {
	if b == nil {
		return
	}
	w := b.begin(laneMain)
	w.open(b, KindEnd, 0)
	w.uint(uint64(session))
	w.uint(uint64(e.Code)<<1 | bit(e.Evicted))
	w.uint(e.Lost)
	w.uint(e.LostStream)
	w.uint(uint64(e.LostReplays))
	w.uint(uint64(max(e.Unacknowledged, 0)))
	b.end(w)
}

// Behind records that a session reads slowly: these messages are the first that
// wait, or 0, and so many bytes wait.
func (b *Box) Behind(session uint32, seq, streamSeq uint64, bytes int) {
	if b == nil {
		return
	}
	w := b.begin(laneMain)
	w.open(b, KindBehind, 0)
	w.uint(uint64(session))
	w.uint(seq)
	w.uint(streamSeq)
	w.uint(uint64(bytes))
	b.end(w)
}

// CaughtUp records that nothing waits for a session any more.
func (b *Box) CaughtUp(session uint32) {
	if b == nil {
		return
	}
	w := b.begin(laneMain)
	w.open(b, KindCaughtUp, 0)
	w.uint(uint64(session))
	b.end(w)
}

// A Gap says that messages may be missing: on a channel, or on all live channels
// if it is "", and for one session, or for all if it is 0.
type Gap struct {
	Session uint32
	Channel string
	Durable bool
	Seq     uint64
	Reason  string
}

// Gap records a gap.
func (b *Box) Gap(g Gap) {
	if b == nil {
		return
	}
	w := b.onChannel(KindGap, g.Session, nil, g.Channel, g.Durable)
	w.uint(g.Seq)
	writeText(w, g.Reason)
	b.end(w)
}

// Link records that the link to Redis is up, or down. seq is that of the last
// message before.
func (b *Box) Link(up bool, seq uint64) {
	if b == nil {
		return
	}
	kind := KindLinkDown
	if up {
		kind = KindLinkUp
	}
	w := b.begin(laneMain)
	w.open(b, kind, 0)
	w.uint(seq)
	b.end(w)
}

// A Refusal is something that a client may not do. Session is 0 if the client
// has no session.
type Refusal struct {
	Session uint32
	User    string
	Channel string
	Code    uint32
	Reason  string // one of a closed list
}

// Refused records a refusal.
func (b *Box) Refused(r Refusal) {
	if b == nil {
		return
	}
	w := b.begin(laneRefusals)
	w.open(b, KindRefused, 0)
	w.uint(uint64(r.Session))
	writeText(w, r.User)
	writeText(w, r.Channel)
	w.uint(uint64(r.Code))
	writeText(w, r.Reason)
	b.end(w)
}

// Rejected records that a client got no connection.
func (b *Box) Rejected(reason string) {
	if b == nil {
		return
	}
	w := b.begin(laneRefusals)
	w.open(b, KindRejected, 0)
	writeText(w, reason)
	b.end(w)
}

// Dropped records that a message was dropped before it got a number.
func (b *Box) Dropped(channel []byte, reason string) {
	if b == nil {
		return
	}
	w := b.begin(laneMain)
	w.open(b, KindDropped, 0)
	writeText(w, channel)
	writeText(w, reason)
	b.end(w)
}
