package relaytest

import (
	"math/rand/v2"
	"unicode/utf8"
)

// Bytes says what payloads are made of behind their stamp.
type Bytes uint8

// The makings of a payload.
const (
	BytesPlain   Bytes = iota // letters
	BytesHostile              // valid UTF-8 that breaks careless encoders: quotes, controls, markup, pieces of RESP, JSON and HTTP
	BytesBinary               // the same with bytes that are not UTF-8, at least one where there is room for it
)

// Payloads describes what a [Publisher] sends. The zero value means unique payloads of letters, 64 bytes each. The bytes
// depend only on the description, the channel and the sequence number.
type Payloads struct {
	// Sizes are the payloads' sizes in bytes, taken in turn; none means 64. One below [StampSize] is raised to it,
	// except where Equal is set.
	Sizes []int
	// Bytes says what stands behind the stamp.
	Bytes Bytes
	// Equal makes all payloads of a channel the same, of the first size: then only the order of PUBLISH tells them
	// apart, as it does for the short words that applications send. Below StampSize they are the same in all
	// channels, down to the empty payload.
	Equal bool
	// Anchors makes every so many-th payload unique although Equal is set: between two of them the number of messages
	// decides. 0 makes none.
	Anchors int
}

const defaultPayload = 64

// Payload returns the bytes of message seq, counted from 1, of channel.
func (p Payloads) Payload(channel string, seq uint32) []byte {
	if p.kind(seq) == StampEqual {
		return p.stamped(StampEqual, channel, 0)
	}
	return p.stamped(StampSeq, channel, seq)
}

func (p Payloads) kind(seq uint32) StampKind {
	if p.Equal && (p.Anchors == 0 || int(seq)%p.Anchors != 0) {
		return StampEqual
	}
	return StampSeq
}

func (p Payloads) stamped(kind StampKind, channel string, seq uint32) []byte {
	size := p.size(kind, seq)
	f := stampFields{Stamp: Stamp{Kind: kind, Seq: seq, Channel: ChannelHash(channel)}, size: max(size, StampSize)}
	body := p.body(f.size-StampSize, f.Channel, seq)
	f.sum = f.checksum(body)
	return append(f.append(make([]byte, 0, f.size)), body...)[:size]
}

func (p Payloads) size(kind StampKind, seq uint32) int {
	switch {
	case kind == StampEnd:
		return defaultPayload
	case len(p.Sizes) == 0:
		return defaultPayload
	case kind == StampEqual:
		return p.Sizes[0]
	}
	return max(p.Sizes[int(seq-1)%len(p.Sizes)], StampSize)
}

// hostile are bytes that some layer might read as its own: JSON, JavaScript, HTML, logs, RESP, HTTP, SSE, terminals.
var hostile = []string{
	`"`, `\`, `\u0000`, `\ud800`, "\x00", "\x01\x1f", "\x7f", "\n", "\r\n", "\r\n\r\n", "\t", "\u2028", "\u2029", "\u0085",
	"\ufeff", "\u202e", "\U0001f600", "\ufffd", "e\u0301", "</script><!--", "<img src=x onerror=alert(1)>", "&amp;",
	`{"type":"gap"}`, `"},{"type":"close"`, "\r\n*3\r\n$7\r\nPUBLISH\r\n", "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n", ">3\r\n", "$-1\r\n",
	"+OK\r\n", "data: x\n\nevent: gap\n", "HTTP/1.1 200 OK\r\n\r\n", "\x1b[2J", "%s%n%d", "${jndi:x}", "' OR 1=1 --", stampMark + "s",
	"привет", "日本",
}

// body returns size bytes, always the same ones for the same channel and seq.
func (p Payloads) body(size int, channel, seq uint32) []byte {
	random := rand.New(rand.NewPCG(uint64(channel), uint64(seq)))
	b := make([]byte, 0, size+64)
	for len(b) < size {
		switch {
		case p.Bytes == BytesPlain:
			b = append(b, byte('a'+random.IntN(26)))
		case p.Bytes == BytesBinary && random.IntN(3) == 0:
			b = append(b, byte(random.Uint32()))
		default:
			b = append(b, hostile[random.IntN(len(hostile))]...)
		}
	}
	b = b[:size]
	if p.Bytes == BytesBinary {
		if size > 0 {
			b[size/2] = 0xff
		}
		return b
	}
	mendCut(b)
	return b
}

// mendCut replaces a last rune that is incomplete.
func mendCut(b []byte) {
	for i := len(b) - 1; i >= max(len(b)-utf8.UTFMax, 0); i-- {
		if !utf8.RuneStart(b[i]) {
			continue
		}
		if !utf8.FullRune(b[i:]) {
			copy(b[i:], "xxx")
		}
		return
	}
}
