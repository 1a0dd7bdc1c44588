package main

import (
	"bytes"
	"testing"
)

// pipe is a link that keeps what the client writes.
type pipe struct{ bytes.Buffer }

func (p *pipe) write(b []byte) { p.Write(b) }
func (p *pipe) close()         {}

func newTestClient(protocol string) (*client, *pipe) {
	run := &course{id: 7, protocol: protocol, clock: newClock()}
	run.window.open(0)
	c := &client{channel: &channel{index: 3, name: "test:3"}, shard: &shard{tally: newTally()}, course: run}
	p := new(pipe)
	c.begin(p)
	c.confirm()
	c.phase = served
	return c, p
}

// stream is what a relay sends: so many messages, with a ping between.
func stream(protocol string, messages int) []byte {
	var b []byte
	for i := range messages {
		payload := string(payloadOf(stamp{run: 7, channel: 3, sequence: uint64(i + 1), sent: 1}, 128+100*(i%5)))
		if protocol == protocolV1 {
			payload = `{"type":"message","channel":"test:3","data":"` + payload + `"}`
		}
		b = append(b, relayFrame(opText, payload)...)
		b = append(b, relayFrame(opPing, "p")...)
	}
	return b
}

// TestClientTakesAnyPieces holds that it does not matter where the network cuts.
func TestClientTakesAnyPieces(t *testing.T) {
	for _, protocol := range []string{protocolRaw, protocolV1} {
		all := stream(protocol, 50)
		for _, piece := range []int{1, 2, 3, 7, 127, 1000, len(all)} {
			c, p := newTestClient(protocol)
			c.channel.started.Store(50)
			for rest := all; len(rest) > 0; {
				n := min(piece, len(rest))
				if err := c.feed(bytes.Clone(rest[:n]), 1000); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			tally := c.shard.tally
			c.settle()
			if tally.deliveries != 50 || tally.score != (score{}) || tally.corrupted+tally.faults+tally.leaked != 0 {
				t.Errorf("%s in pieces of %d: %d messages, %+v", protocol, piece, tally.deliveries, tally.score)
			}
			if want := bytes.Repeat(maskedFrame(nil, opPong, []byte("p")), 50); !bytes.Equal(p.Bytes(), want) {
				t.Errorf("%s in pieces of %d: %d bytes of pongs", protocol, piece, p.Len())
			}
			if len(c.carry) != 0 {
				t.Errorf("%s in pieces of %d: %d bytes are left over", protocol, piece, len(c.carry))
			}
		}
	}
}

func TestClientDoesNotAllocatePerMessage(t *testing.T) {
	for _, protocol := range []string{protocolRaw, protocolV1} {
		c, _ := newTestClient(protocol)
		payload := newPayload(128)
		sequence := uint64(0)
		head := []byte(`{"type":"message","channel":"test:3","data":"`)
		text := make([]byte, 0, 512)
		if n := testing.AllocsPerRun(200, func() {
			sequence++
			stamp{run: 7, channel: 3, sequence: sequence, sent: 1}.put(payload)
			text = append(text[:0], opText|0x80, 126, 0, byte(len(payload)))
			if protocol == protocolV1 {
				text = append(text, head...)
			}
			text = append(text, payload...)
			if protocol == protocolV1 {
				text = append(text, `"}`...)
			}
			text[3] = byte(len(text) - 4)
			if err := c.feed(text, 1000); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", protocol, n)
		}
		if c.shard.tally.deliveries != sequence {
			t.Errorf("%s: %d of %d were delivered", protocol, c.shard.tally.deliveries, sequence)
		}
	}
}

// TestClientForgivesWhatMayNotHaveBeenPublished: where Redis's answer was lost, nobody knows.
func TestClientForgivesWhatMayNotHaveBeenPublished(t *testing.T) {
	tests := []struct {
		name  string
		heard []uint64
		want  score
	}{
		{"it was not published", []uint64{1, 2, 5}, score{}},
		{"it was", []uint64{1, 2, 3, 4, 5}, score{}},
		{"half of it was", []uint64{1, 2, 4, 5}, score{}},
		{"it was, later", []uint64{1, 2, 5, 3}, score{}},
		{"it was not, and more is missing", []uint64{1, 5}, score{lost: 1}},
		{"it was not, nor heard what came after", []uint64{1, 2}, score{lost: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _ := newTestClient(protocolRaw)
			c.channel.started.Store(5)
			c.ledger.floor = 0
			c.channel.doubt(3, 4)
			for _, sequence := range test.heard {
				c.deliver(payloadOf(stamp{run: 7, channel: 3, sequence: sequence}, 100), 1)
			}
			c.settle()
			if c.shard.tally.score != test.want {
				t.Errorf("got %+v, want %+v", c.shard.tally.score, test.want)
			}
		})
	}
}

func TestClientSetsForeignMessagesApart(t *testing.T) {
	c, _ := newTestClient(protocolRaw)
	c.deliver(payloadOf(stamp{run: 8, channel: 3, sequence: 9}, 100), 1)
	if tally := c.shard.tally; tally.foreign != 1 || tally.deliveries != 0 || tally.score != (score{}) {
		t.Errorf("%+v", tally.score)
	}
}

func BenchmarkClientFeed(b *testing.B) {
	for _, protocol := range []string{protocolRaw, protocolV1} {
		b.Run(protocol, func(b *testing.B) {
			c, _ := newTestClient(protocol)
			frame := stream(protocol, 1)
			frame = frame[:len(frame)-3] // without the ping
			b.ReportAllocs()
			for b.Loop() {
				c.ledger.last = 0
				if err := c.feed(frame, 1000); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
