package outbox

import "math"

// A Tag identifies a message, so that its sender can find out which messages a
// client did not get: the lowest bits of the number of the message among those
// of all live channels, or of all durable channels. 0 is no message.
type Tag uint32

// MakeTag returns the tag of a message.
func MakeTag(seq uint64, durable bool) Tag {
	if durable {
		return Tag(seq << 1)
	}
	return Tag(seq<<1 | 1)
}

// Seq returns the number of the message with this tag, which is the one that is
// closest to near. For no message it returns 0.
func (t Tag) Seq(near uint64) uint64 {
	if t == 0 {
		return 0
	}
	return near + uint64(int64(int32(uint32(t&^1)-uint32(near<<1))/2))
}

// IsDurable reports whether the message is on a durable channel.
func (t Tag) IsDurable() bool { return t&1 == 0 }

// Losses are the first messages that were given to an outbox and not sent: each
// message after them is lost too. Replayed is how many frames of replays were
// lost, the last ones. Unconfirmed is how many bytes before those wait, or were
// not acknowledged by the client's kernel.
type Losses struct {
	Live, Durable Tag
	Replayed      int
	Unconfirmed   int
}

// Lost returns the messages and bytes that the outbox has not sent and will not
// send.
func (o *Outbox) Lost() Losses {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := Losses{o.lostLive, o.lostDurable, int(o.lostReplays), -int(o.partial)}
	if n, known := o.socket.Unacknowledged(); known {
		l.Unconfirmed += n
	}
	for i := range o.queue {
		l.Unconfirmed += len(o.queue[i].frame)
	}
	return l
}

// loseLocked records that a message is lost. The one that was written in part
// when the client was evicted can be lost after those that followed it.
func (o *Outbox) loseLocked(t Tag) {
	if t == 0 {
		return
	}
	first := &o.lostLive
	if t.IsDurable() {
		first = &o.lostDurable
	}
	if *first == 0 || int32(t-*first) < 0 {
		*first = t
	}
}

// loseAllLocked records that frames are lost, which were not queued.
func (o *Outbox) loseAllLocked(frames [][]byte, tags []Tag, replay bool) {
	if replay {
		o.lostReplays = uint16(min(int(o.lostReplays)+len(frames), math.MaxUint16))
	}
	for _, t := range tags {
		o.loseLocked(t)
	}
}

// tagsFrom returns the tags from index i on, if there are any.
func tagsFrom(tags []Tag, i int) []Tag {
	if tags == nil {
		return nil
	}
	return tags[i:]
}

// loseQueueLocked records that the end of the queue is lost.
func (o *Outbox) loseQueueLocked(entries []queued) {
	for i := range entries {
		switch e := &entries[i]; {
		case e.replay && o.lostReplays < math.MaxUint16:
			o.lostReplays++
		case !e.replay:
			o.loseLocked(e.tag)
		}
	}
}

// firstWaiting returns the tag of the first message that is queued, or 0.
func (o *Outbox) firstWaiting() Tag {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.queue {
		if t := o.queue[i].tag; t != 0 {
			return t
		}
	}
	return 0
}

// A Backlog is what waits in an outbox: so many bytes, the first message among
// them, and for how long none was sent.
type Backlog struct {
	Outbox *Outbox
	First  Tag // 0: none
	Bytes  int
}

// Waiting returns the outboxes in which something waits. It must not be called
// with an outbox locked.
func (b *Budget) Waiting() (list []Backlog) {
	b.mu.Lock()
	for _, h := range b.largest.list {
		list = append(list, Backlog{Outbox: h.outbox, Bytes: h.bytes})
	}
	b.mu.Unlock()
	for i := range list {
		list[i].First = list[i].Outbox.firstWaiting()
	}
	return list
}
