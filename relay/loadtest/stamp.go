package main

import (
	"bytes"
	"errors"
	"hash/crc32"
)

// A payload is a stamp, `sc load RRRRRRRR CCCCCCCC SSSSSSSSSSSS TTTTTTTTTTTTTTTT KKKKKKKK` with run, channel,
// sequence, time and checksum in hexadecimal, and filler up to the size asked for. It is plain ASCII without a quote or a
// backslash, so that no protocol has a reason to escape it.
const (
	stampMark = "sc load "

	runAt      = len(stampMark)
	channelAt  = runAt + 8 + 1
	sequenceAt = channelAt + 8 + 1
	timeAt     = sequenceAt + 12 + 1
	checksumAt = timeAt + 16 + 1
	stampSize  = checksumAt + 8

	filler = " the quick brown fox jumps over the lazy dog"
)

// A stamp is what a payload says about itself.
type stamp struct {
	run      uint32 // tells this run from others on the same relay
	channel  uint32 // index
	sequence uint64 // per channel, from 1
	sent     int64  // on the run's clock, in nanoseconds
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newPayload returns a payload of size bytes, at least stampSize, with everything but the stamp.
func newPayload(size int) []byte {
	p := bytes.Repeat([]byte(" "), size)
	copy(p, stampMark)
	for i := stampSize; i < size; i++ {
		p[i] = filler[(i-stampSize)%len(filler)]
	}
	return p
}

// put writes the stamp into a payload made by newPayload.
func (s stamp) put(p []byte) {
	putHex(p[runAt:channelAt-1], uint64(s.run))
	putHex(p[channelAt:sequenceAt-1], uint64(s.channel))
	putHex(p[sequenceAt:timeAt-1], s.sequence)
	putHex(p[timeAt:checksumAt-1], uint64(s.sent))
	putHex(p[checksumAt:stampSize], uint64(checksum(p)))
}

var errCorrupt = errors.New("the payload was changed")

// readStamp returns what a payload says, or errCorrupt if any byte of it differs from what was sent.
func readStamp(p []byte) (stamp, error) {
	if len(p) < stampSize {
		return stamp{}, errCorrupt
	}
	sum, ok := hex(p[checksumAt:stampSize])
	if !ok || uint32(sum) != checksum(p) {
		return stamp{}, errCorrupt
	}
	run, ok1 := hex(p[runAt : channelAt-1])
	channel, ok2 := hex(p[channelAt : sequenceAt-1])
	sequence, ok3 := hex(p[sequenceAt : timeAt-1])
	sent, ok4 := hex(p[timeAt : checksumAt-1])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return stamp{}, errCorrupt
	}
	return stamp{run: uint32(run), channel: uint32(channel), sequence: sequence, sent: int64(sent)}, nil
}

// checksum covers every byte but its own.
func checksum(p []byte) uint32 {
	return crc32.Update(crc32.Checksum(p[:checksumAt], castagnoli), castagnoli, p[stampSize:])
}

const digits = "0123456789abcdef"

func putHex(p []byte, v uint64) {
	for i := len(p) - 1; i >= 0; i-- {
		p[i] = digits[v&15]
		v >>= 4
	}
}

func hex(p []byte) (v uint64, ok bool) {
	for _, c := range p {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, true
}
