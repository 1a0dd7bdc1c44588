package relaytest

import (
	"math/rand/v2"
	"unicode/utf8"
)

// Bytes is the kind of bytes that payloads have after their stamp.
type Bytes uint8

// The kinds of bytes.
const (
	BytesPlain Bytes = iota // letters
	// BytesHostile is valid UTF-8 that breaks careless encoders: quotes,
	// control characters, markup, parts of RESP, JSON and HTTP.
	BytesHostile
	// BytesBinary is the same, with at least one byte that is not UTF-8 unless
	// the payload is only a stamp.
	BytesBinary
)

// Payloads describes the payloads of a [Publisher]. The zero value means unique
// payloads of 64 bytes that are letters. The bytes depend only on the
// description, the channel and the sequence number.
type Payloads struct {
	// Sizes are the sizes of the payloads in bytes, used in turn; nil means 64.
	// A size below [StampSize] is raised to it, unless Equal is set.
	Sizes []int
	// Bytes is the kind of bytes after the stamp.
	Bytes Bytes
	// Equal makes all payloads of a channel equal, with the first size, so that
	// only the order of PUBLISH distinguishes them, as with the short words
	// that applications send. If the size is below StampSize, the payloads of
	// all channels are equal, down to the empty payload.
	Equal bool
	// Anchors makes every nth payload unique although Equal is set, so that the
	// number of messages between two of them can be checked. With 0 all are
	// equal.
	Anchors int
}

const defaultPayload = 64

// Payload returns the bytes of message seq, counted from 1, of channel.
func (p Payloads) Payload(channel string, seq uint32) []byte {
	if p.kind(seq) == stampEqual {
		return p.stamped(stampEqual, channel, 0)
	}
	return p.stamped(stampSeq, channel, seq)
}

func (p Payloads) kind(seq uint32) stampKind {
	if p.Equal && (p.Anchors == 0 || int(seq)%p.Anchors != 0) {
		return stampEqual
	}
	return stampSeq
}

func (p Payloads) stamped(kind stampKind, channel string, seq uint32) []byte {
	size := p.size(kind, seq)
	f := stampFields{stamp: stamp{kind: kind, seq: seq, channel: channelHash(channel)}, size: max(size, StampSize)}
	body := p.body(f.size-StampSize, f.channel, seq)
	f.sum = f.checksum(body)
	return append(f.append(make([]byte, 0, f.size)), body...)[:size]
}

func (p Payloads) size(kind stampKind, seq uint32) int {
	switch {
	case kind == stampEnd:
		return defaultPayload
	case len(p.Sizes) == 0:
		return defaultPayload
	case kind == stampEqual:
		return p.Sizes[0]
	}
	return max(p.Sizes[int(seq-1)%len(p.Sizes)], StampSize)
}

// hostile has bytes that mean something to JSON, JavaScript, HTML, logs, RESP,
// HTTP, SSE or terminals.
var hostile = []string{
	`"`, `\`, `\u0000`, `\ud800`, "\x00", "\x01\x1f", "\x7f", "\n", "\r\n", "\r\n\r\n", "\t", "\u2028", "\u2029", "\u0085",
	"\ufeff", "\u202e", "\U0001f600", "\ufffd", "e\u0301", "</script><!--", "<img src=x onerror=alert(1)>", "&amp;",
	`{"type":"gap"}`, `"},{"type":"close"`, "\r\n*3\r\n$7\r\nPUBLISH\r\n", "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n", ">3\r\n", "$-1\r\n",
	"+OK\r\n", "data: x\n\nevent: gap\n", "HTTP/1.1 200 OK\r\n\r\n", "\x1b[2J", "%s%n%d", "${jndi:x}", "' OR 1=1 --", stampMark + "s",
	"привет", "日本",
}

// body returns size bytes, always the same for one channel and seq.
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
	replacePartialRune(b)
	return b
}

// replacePartialRune overwrites the last rune if it is incomplete.
func replacePartialRune(b []byte) {
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
