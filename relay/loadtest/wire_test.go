package main

import (
	"bytes"
	"strings"
	"testing"
)

// relayFrame is a frame as a relay writes it.
func relayFrame(opcode byte, payload string) []byte {
	masked := maskedFrame(nil, opcode, []byte(payload))
	head := len(masked) - len(payload) - 4
	unmasked := append(masked[:head:head], payload...)
	unmasked[1] &^= 0x80
	return unmasked
}

func TestNextFrame(t *testing.T) {
	long, longer := strings.Repeat("x", 300), strings.Repeat("y", 70_000)
	tests := []struct {
		name    string
		bytes   []byte
		opcode  byte
		payload string
		fails   bool
	}{
		{name: "text", bytes: relayFrame(opText, "hello"), opcode: opText, payload: "hello"},
		{name: "binary", bytes: relayFrame(opBinary, "\xff"), opcode: opBinary, payload: "\xff"},
		{name: "empty", bytes: relayFrame(opText, ""), opcode: opText},
		{name: "16 bits of length", bytes: relayFrame(opText, long), opcode: opText, payload: long},
		{name: "64 bits of length", bytes: relayFrame(opText, longer), opcode: opText, payload: longer},
		{name: "ping", bytes: relayFrame(opPing, "p"), opcode: opPing, payload: "p"},
		{name: "close", bytes: relayFrame(opClose, "\x03\xe8"), opcode: opClose, payload: "\x03\xe8"},
		{name: "fragment", bytes: []byte{0x01, 0}, fails: true},
		{name: "compressed without being asked", bytes: []byte{0xc1, 0}, fails: true},
		{name: "masked by the relay", bytes: []byte{0x81, 0x80, 0, 0, 0, 0}, fails: true},
		{name: "long ping", bytes: []byte{0x89, 126, 1, 0}, fails: true},
		{name: "unknown opcode", bytes: []byte{0x83, 0}, fails: true},
		{name: "continuation of nothing", bytes: []byte{0x80, 0}, fails: true},
		{name: "more than a relay carries", bytes: []byte{0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0}, fails: true},
		{name: "length with the top bit", bytes: []byte{0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, fails: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			behind := append(bytes.Clone(test.bytes), "behind"...)
			f, size, err := nextFrame(behind)
			if test.fails {
				if err == nil {
					t.Errorf("accepted as %+v", f)
				}
				return
			}
			if err != nil || size != len(test.bytes) || f.opcode != test.opcode || string(f.payload) != test.payload {
				t.Errorf("got opcode %d, %d bytes, size %d, %v", f.opcode, len(f.payload), size, err)
			}
			for n := range test.bytes {
				if _, size, err := nextFrame(test.bytes[:n]); size != 0 || err != nil {
					t.Fatalf("%d of %d bytes are taken as a frame of %d, %v", n, len(test.bytes), size, err)
				}
			}
		})
	}
}

func FuzzNextFrame(f *testing.F) {
	f.Add(relayFrame(opText, "hello"))
	f.Add([]byte{0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, size, err := nextFrame(b)
		if size > len(b) || err != nil && size != 0 || len(got.payload) > size {
			t.Errorf("%x: frame %+v of %d, %v", b, got, size, err)
		}
	})
}
