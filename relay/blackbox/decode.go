package blackbox

import (
	"encoding/binary"
	"time"
)

// A decoder decodes the records of one segment, which may be anything.
type decoder struct {
	data      []byte // of the segment, as far as it was read
	next      int    // where the next record begins
	broken    bool   // what follows is no record
	boot      uint32
	at        int64
	seq       uint64
	streamSeq uint64
	major     uint64
	names     []string
	minors    []uint64 // of the last message on each name since the mark
}

// start begins a segment with its header.
func (d *decoder) start(data []byte) {
	s := segment(data)
	*d = decoder{
		data: data, next: segmentHeader, boot: s.boot(), at: s.time(), seq: s.seq(), streamSeq: s.streamSeq(),
		names: d.names[:0], minors: d.minors[:0],
	}
}

// decode decodes the next record, and reports whether there was a whole one.
func (d *decoder) decode(into *Record) bool {
	for !d.broken && d.next < len(d.data) {
		f := fields{data: d.data[d.next:]}
		first := f.byte()
		kind := Kind(first & kindMask)
		at := d.at
		if first&flagLater != 0 {
			at += int64(f.uint() & (1<<53 - 1))
		}
		*into = Record{Kind: kind, At: time.UnixMilli(at), Boot: d.boot}
		switch {
		case kind == kindName:
			name := f.text()
			if f.ok() {
				d.names, d.minors = append(d.names, name), append(d.minors, 0)
			}
		case kind == kindMark:
			if major := f.uint(); f.ok() {
				d.major = major
				clear(d.minors)
			}
		case kind == KindMessage:
			d.message(&f, into, first&flagUsual != 0)
		case kind == KindNone || kind >= numKinds:
			d.broken = true
			return false
		default:
			d.event(&f, into)
		}
		if f.bad {
			d.broken = true
			return false
		}
		if f.short {
			return false // the rest was not read yet
		}
		d.at, d.next = at, d.next+f.next
		if kind < numKinds {
			return true
		}
	}
	return false
}

func (d *decoder) message(f *fields, r *Record, usual bool) {
	n := f.uint()
	r.Channel = d.name(f, n)
	if usual {
		r.Seq = d.seq + 1
		r.Size, r.Heard = f.int(), f.int()
		if f.ok() {
			d.minors[n]++
			d.seq = r.Seq
			r.To = d.place(n)
		}
		return
	}
	flags := f.byte()
	r.Durable, r.TooLarge = flags&messageDurable != 0, flags&messageTooLarge != 0
	r.Seq = f.uint()
	if r.Durable {
		r.To = f.place()
	} else {
		r.To.Minor = f.uint()
	}
	r.Size, r.Heard = f.int(), f.int()
	switch {
	case !f.ok():
	case r.Durable:
		d.streamSeq = r.Seq
	default:
		d.seq, d.minors[n] = r.Seq, r.To.Minor
		r.To = d.place(n)
	}
}

// place returns the place of the last message on a name, or the zero value if
// the relay keeps no history.
func (d *decoder) place(n uint64) Place {
	if d.major == 0 {
		return Place{}
	}
	return Place{d.major, d.minors[n]}
}

func (d *decoder) event(f *fields, r *Record) {
	switch r.Kind {
	case KindNudge:
		n := f.uint()
		r.Channel, r.Durable, r.Empty = d.name(f, n>>1), true, n&1 != 0
	case KindBegin, KindIs:
		r.Session = uint32(f.uint())
		copy(r.ID[:], f.take(len(r.ID)))
		r.User = f.text()
		r.Protocol, r.Transport = f.byte(), f.byte()
	case KindJoin, KindOn, KindLeave:
		d.subscription(f, r)
		r.Seq = f.uint()
	case KindOwn:
		d.subscription(f, r)
		r.Seq, r.To = f.uint(), f.place()
	case KindAwait:
		d.subscription(f, r)
	case KindReplay:
		d.subscription(f, r)
		r.From, r.To = f.place(), f.place()
		frames := f.int()
		r.Frames, r.Joined = frames>>1, frames&1 != 0
		r.Check = uint32(f.uint())
	case KindClose:
		r.Session, r.Code = uint32(f.uint()), uint32(f.uint())
		r.Seq, r.StreamSeq = f.uint(), f.uint()
	case KindEnd:
		r.Session = uint32(f.uint())
		code := f.uint()
		r.Code, r.Evicted = uint32(code>>1), code&1 != 0
		r.Seq, r.StreamSeq, r.LostReplays, r.Unacknowledged = f.uint(), f.uint(), f.int(), f.int()
	case KindBehind:
		r.Session = uint32(f.uint())
		r.Seq, r.StreamSeq, r.Size = f.uint(), f.uint(), f.int()
	case KindSwapped:
		r.Seq = f.uint()
		r.StreamSeq = r.Seq + f.uint()
	case KindCaughtUp:
		r.Session = uint32(f.uint())
	case KindGap:
		d.subscription(f, r)
		r.Seq, r.Reason = f.uint(), f.text()
	case KindLinkUp, KindLinkDown:
		r.Seq = f.uint()
	case KindRefused:
		r.Session = uint32(f.uint())
		r.User, r.Channel = f.text(), f.text()
		r.Code, r.Reason = uint32(f.uint()), f.text()
	case KindRejected:
		r.Reason = f.text()
	case KindDropped:
		r.Channel, r.Reason = f.text(), f.text()
	}
}

// subscription decodes a session and a channel.
func (d *decoder) subscription(f *fields, r *Record) {
	r.Session = uint32(f.uint())
	n := f.uint()
	r.Channel, r.Durable = d.name(f, n>>1), n&1 != 0
}

// name returns the name with a number.
func (d *decoder) name(f *fields, n uint64) string {
	if n >= uint64(len(d.names)) {
		f.bad = f.bad || !f.short
		return ""
	}
	return d.names[n]
}

// fields decodes the fields of a record. If there are too few bytes, or
// something is invalid, they are zero.
type fields struct {
	data  []byte
	next  int
	short bool // there were too few bytes
	bad   bool
}

func (f *fields) ok() bool { return !f.short && !f.bad }

func (f *fields) take(n int) []byte {
	if len(f.data)-f.next < n {
		f.short = true
	}
	if !f.ok() {
		return nil
	}
	f.next += n
	return f.data[f.next-n : f.next]
}

func (f *fields) byte() byte {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) uint() uint64 {
	if !f.ok() {
		return 0
	}
	n, size := binary.Uvarint(f.data[f.next:])
	switch {
	case size == 0:
		f.short = true
	case size < 0:
		f.bad = true
	default:
		f.next += size
		return n
	}
	return 0
}

// int is uint for a size. Larger ones are invalid.
func (f *fields) int() int {
	n := f.uint()
	if n > 1<<40 {
		f.bad = true
		return 0
	}
	return int(n)
}

func (f *fields) place() Place { return Place{f.uint(), f.uint()} }

func (f *fields) text() string { return string(f.take(int(f.byte()))) }
