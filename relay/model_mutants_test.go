package relay_test

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// A mutant changes what a client got into what a broken relay might have sent. It gets the frames behind the handshake and
// returns nil where there is nothing to break.
type mutant struct {
	name   string
	mutate func(random *rand.Rand, log []entry, list []heard) []heard
}

// at returns a random index that satisfies ok, or -1.
func at(random *rand.Rand, list []heard, ok func(i int) bool) int {
	var all []int
	for i := range list {
		if ok(i) {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return -1
	}
	return all[random.IntN(len(all))]
}

// begun reports whether frame i is a message, or a gap, and the client has heard a message of the same channel before, in
// the same subscription.
func begun(list []heard, i int) bool {
	if list[i].kind != "message" && list[i].kind != "gap" || list[i].channel == "" {
		return false
	}
	for k := i - 1; k >= 0; k-- {
		if list[k].channel == list[i].channel && list[k].kind != "gap" {
			return list[k].kind == "message"
		}
	}
	return false
}

// resumed reports whether the client came back to the channel: what it missed may come before what is told to all, and any
// may be missing where it was told of a gap that is not one message.
func resumed(list []heard, channel string) bool {
	return slices.ContainsFunc(list, func(h heard) bool {
		return h.channel == channel && (h.recovered || h.kind == "gap" && h.reason != "too_large")
	})
}

// anyMessage reports whether the client heard one: before, it may have joined when all was told.
func anyMessage(list []heard) bool {
	return slices.ContainsFunc(list, func(h heard) bool { return h.kind == "message" && h.channel != "" })
}

// replaced returns list with frames n to m replaced.
func replaced(list []heard, n, m int, by ...heard) []heard {
	return slices.Concat(list[:n], by, list[m:])
}

var mutants = []mutant{
	{"drops a message", func(random *rand.Rand, _ []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool { return list[i].kind == "message" && begun(list, i) && !lastOf(list, i) })
		if i < 0 {
			return nil
		}
		return replaced(list, i, i+1)
	}},
	{"sends a message twice", func(random *rand.Rand, _ []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool { return list[i].kind == "message" })
		if i < 0 {
			return nil
		}
		return replaced(list, i, i, list[i])
	}},
	{"swaps two messages", func(random *rand.Rand, _ []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool {
			return i > 0 && list[i].kind == "message" && list[i-1].kind == "message" && list[i].channel == list[i-1].channel
		})
		if i < 0 {
			return nil
		}
		return replaced(list, i-1, i+1, list[i], list[i-1])
	}},
	{"tells of a gap after the next message", func(random *rand.Rand, _ []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool {
			return i > 0 && list[i].kind == "message" && list[i-1].kind == "gap" && (list[i-1].channel == "" && !resumed(list[:i], list[i].channel) || begun(list, i-1) && list[i-1].channel == list[i].channel)
		})
		if i < 0 {
			return nil
		}
		return replaced(list, i-1, i+1, list[i], list[i-1])
	}},
	{"does not tell of a gap", func(random *rand.Rand, _ []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool {
			return list[i].kind == "gap" && (list[i].channel == "" && anyMessage(list[:i]) || begun(list, i) && !lastOf(list, i) && !resumed(list[:i+1], list[i].channel))
		})
		if i < 0 {
			return nil
		}
		return replaced(list, i, i+1)
	}},
	{"tells of a gap that was none", func(random *rand.Rand, log []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool { return list[i].kind == "message" && begun(list, i) })
		if i < 0 || nextIs(log, list, i, entryOversize) {
			return nil
		}
		return replaced(list, i+1, i+1, frameOf(protocol.Event{Type: protocol.EventGap, Channel: list[i].channel, Reason: protocol.GapTooLarge}))
	}},
	{"tells of an outage that was none", func(random *rand.Rand, _ []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool { return list[i].kind == "gap" && list[i].channel == "" })
		if i < 0 {
			return nil
		}
		return replaced(list, i, i, list[i])
	}},
	{"sends what the client does not listen to", func(random *rand.Rand, log []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool { return list[i].kind == "unsubscribed" })
		if i < 0 {
			return nil
		}
		k := slices.IndexFunc(log, func(e entry) bool { return e.kind == entryMessage && e.channel == list[i].channel })
		if k < 0 {
			return nil
		}
		return replaced(list, i+1, i+1, messageOf(log[k]))
	}},
	{"sends a message before the answer", func(random *rand.Rand, _ []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool {
			return i > 0 && list[i].kind == "message" && !begun(list, i) && list[i-1].kind == "subscribed" && list[i-1].channel == list[i].channel
		})
		if i < 0 || slices.ContainsFunc(list[:i-1], func(h heard) bool { return h.kind == "subscribed" && h.channel == list[i].channel }) {
			return nil
		}
		return replaced(list, i-1, i+1, list[i], list[i-1])
	}},
	{"sends a message on another channel", func(random *rand.Rand, log []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool { return list[i].kind == "message" })
		if i < 0 {
			return nil
		}
		e := log[list[i].place-1]
		e.channel += "x"
		return replaced(list, i, i+1, messageOf(e))
	}},
	{"changes a byte", func(random *rand.Rand, _ []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool { return list[i].kind == "message" })
		if i < 0 {
			return nil
		}
		changed := list[i]
		changed.frame = bytes.Clone(changed.frame)
		data := max(bytes.Index(changed.frame, []byte(`"data"`)), bytes.Index(changed.frame, []byte(`"base64"`)))
		changed.frame[data+random.IntN(len(changed.frame)-data)] ^= 1
		return replaced(list, i, i+1, changed)
	}},
	{"sends a frame inside another", func(random *rand.Rand, _ []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool { return i > 0 })
		if i < 0 {
			return nil
		}
		one, half := list[i-1].frame, len(list[i-1].frame)/2
		return replaced(list, i-1, i+1, heard{frame: slices.Concat(one[:half], list[i].frame, one[half:])})
	}},
	{"does not answer", func(random *rand.Rand, _ []entry, list []heard) []heard {
		i := at(random, list, func(i int) bool { return list[i].ref > 0 })
		if i < 0 {
			return nil
		}
		return replaced(list, i, i+1)
	}},
	{"loses the end", func(_ *rand.Rand, _ []entry, list []heard) []heard {
		last := len(list) - 1
		for list[last].kind == "heartbeat" || list[last].kind == "ping" {
			last--
		}
		// Who has heard nothing since it joined or was told of a gap may have joined behind a gap that is told to all.
		if list[last].kind == "gap" && (last == 0 || list[last-1].kind != "message" || resumed(list[:last], list[last-1].channel)) {
			return nil
		}
		return list[:last]
	}},
	{"cuts the last frame", func(_ *rand.Rand, _ []entry, list []heard) []heard {
		last := list[len(list)-1]
		last.frame = last.frame[:len(last.frame)-1]
		return replaced(list, len(list)-1, len(list), last)
	}},
	{"closes without a word", func(_ *rand.Rand, _ []entry, list []heard) []heard {
		return append(slices.Clone(list), heard{frame: protocol.CloseFrame(protocol.CloseSlow)})
	}},
}

// lastOf reports whether nothing of the channel follows frame i in the same subscription.
func lastOf(list []heard, i int) bool {
	for _, h := range list[i+1:] {
		if h.channel == list[i].channel && h.kind != "subscribed" {
			return h.kind == "unsubscribed"
		}
	}
	return false // the end shows it
}

// nextIs reports whether the next entry of frame i's channel is of the kind.
func nextIs(log []entry, list []heard, i int, kind entryKind) bool {
	for _, e := range log[list[i].place:] {
		if e.channel == list[i].channel {
			return e.kind == kind
		}
	}
	return false
}

func frameOf(e protocol.Event) heard { return heard{frame: protocol.V1{}.Event(e)} }

func messageOf(e entry) heard {
	return heard{frame: protocol.V1{}.Message(e.channel, nil, []byte(e.payload))}
}

// The checker is no use if it does not see a broken relay: each mutant of what clients got has to be caught.
func TestModelCatchesMutants(t *testing.T) {
	seed := cmp.Or(*modelSeed, rand.Uint64())
	t.Logf("go test -run %s -model.seed %d", t.Name(), seed)
	random := rand.New(rand.NewPCG(seed, 1))
	caught := map[string]int{}
	for i := range uint64(40) {
		w := live(t, seed, i, nil)
		for _, c := range w.lives {
			list := understood(c.life)
			if c.life.end != endAlive || c.life.protocol != protocol.V1ID || len(list) == 0 {
				continue
			}
			for _, m := range mutants {
				mutated := m.mutate(random, w.log, list)
				if mutated == nil {
					continue
				}
				broken := c.life
				broken.stream = []byte(handshake)
				for _, h := range mutated {
					broken.stream = append(broken.stream, h.frame...)
				}
				if check(w.log, &broken) == nil {
					t.Errorf("history %d, client %s: nobody notices a relay that %s%s", i, c.life.id, m.name, tail(&broken))
				}
				caught[m.name]++
			}
		}
	}
	for _, m := range mutants {
		if caught[m.name] == 0 {
			t.Errorf("no client could be sent what a relay sends that %s", m.name)
		}
	}
	t.Logf("mutants caught: %v", caught)
}

// understood returns the frames of a life behind the handshake.
func understood(l life) []heard {
	stream, _ := bytes.CutPrefix(l.stream, []byte(handshake))
	list, _ := frames(stream)
	for i := range list {
		_ = list[i].understand(l.protocol)
	}
	return list
}

// A crookedSocket sends something else than it is given, once, and says that all is well.
type crookedSocket struct {
	*outboxtest.FakeSocket
	crook func(frames [][]byte) [][]byte
	done  bool // guarded by the outbox
}

func (s *crookedSocket) Send(frames [][]byte) (int, error) {
	if s.done || len(frames) < 3 || !messages(frames[:3]) {
		return s.FakeSocket.Send(frames)
	}
	s.done = true
	s.Give(outboxtest.Unlimited)
	if _, err := s.FakeSocket.Send(s.crook(slices.Clone(frames))); err != nil {
		return 0, err
	}
	n := 0
	for _, frame := range frames {
		n += len(frame)
	}
	return n, nil
}

// messages reports whether all frames are v1's messages, of one channel.
func messages(all [][]byte) bool {
	channel := ""
	for _, frame := range all {
		list, err := frames(frame)
		if err != nil || len(list) != 1 || list[0].understand(protocol.V1ID) != nil || list[0].kind != "message" {
			return false
		}
		if channel != "" && list[0].channel != channel {
			return false
		}
		channel = list[0].channel
	}
	return true
}

// The same with a relay that is broken while it runs: whatever a connection loses, repeats or exchanges is noticed.
func TestModelCatchesCrookedConnections(t *testing.T) {
	seed := cmp.Or(*modelSeed, rand.Uint64())
	t.Logf("go test -run %s -model.seed %d", t.Name(), seed)
	for name, crook := range map[string]func([][]byte) [][]byte{
		"loses":     func(frames [][]byte) [][]byte { return slices.Delete(frames, 1, 2) },
		"repeats":   func(frames [][]byte) [][]byte { return slices.Insert(frames, 1, frames[1]) },
		"exchanges": func(frames [][]byte) [][]byte { frames[1], frames[2] = frames[2], frames[1]; return frames },
		"mixes":     func(frames [][]byte) [][]byte { frames[1], frames[2] = mix(frames[1], frames[2]); return frames },
	} {
		crooked := 0
		for i := range uint64(12) {
			w := live(t, seed, i, func(w *world) {
				w.socket = func(room int) socket { return &crookedSocket{FakeSocket: outboxtest.NewFakeSocket(room), crook: crook} }
			})
			for _, c := range w.lives {
				if !c.socket.(*crookedSocket).done || c.life.end == endLeft {
					continue
				}
				crooked++
				if check(w.log, &c.life) == nil {
					t.Errorf("history %d, client %s: nobody notices a connection that %s%s", i, c.life.id, name, tail(&c.life))
				}
			}
		}
		if crooked == 0 {
			t.Errorf("no connection %s anything", name)
		}
		t.Logf("a connection that %s: noticed %d times", name, crooked)
	}
}

// mix exchanges the second halves of two frames.
func mix(a, b []byte) ([]byte, []byte) {
	return slices.Concat(a[:len(a)/2], b[len(b)/2:]), slices.Concat(b[:len(b)/2], a[len(a)/2:])
}

// What the checker says names the place.
func TestModelSaysWhatIsWrong(t *testing.T) {
	log := []entry{
		{kind: entryOnline}, {entryMessage, "a", "#2:"}, {entryMessage, "a", "#3:"}, {entryMessage, "b", "#4:"}, {entryMessage, "a", "#5:"},
	}
	l := life{
		protocol: protocol.V1ID, joinedBy: 1, end: endAlive,
		commands: []command{{kind: "subscribed", channels: []string{"a"}, before: 1, behind: 1}},
	}
	hello := frameOf(protocol.Event{Type: protocol.EventWelcome}).frame
	answer := frameOf(protocol.Event{Type: protocol.EventSubscribed, Channel: "a", Ref: []byte("1")}).frame
	l.stream = slices.Concat(hello, answer, messageOf(log[1]).frame, messageOf(log[4]).frame)
	if err := check(log, &l); err == nil || !strings.Contains(err.Error(), "3 is missing") {
		t.Errorf("without entry 3: %v", err)
	}
	l.stream = slices.Concat(hello, answer, messageOf(log[1]).frame, messageOf(log[2]).frame, messageOf(log[4]).frame)
	if err := check(log, &l); err != nil {
		t.Errorf("all is well: %v", err)
	}
}
