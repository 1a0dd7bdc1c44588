package console

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// sketchSize is how many channels a [Busiest] counts at a time.
	sketchSize = 128
	// sketchBuckets is the size of its hash table, a power of two.
	sketchBuckets = 4 * sketchSize
	// maxName is how much of a name it keeps; no channel has a longer one.
	maxName = 200
	// sketchAge is the time after which a message counts 1/e.
	sketchAge = 10 * time.Second
)

// A Busiest finds the channels with the most messages, in constant memory: it
// is a space-saving sketch (Metwally, Agrawal and El Abbadi, 2005). It counts
// [sketchSize] channels. A message on another channel takes the place of the
// channel with the fewest messages and inherits its count, so a count is never
// too low, and too high by at most what was inherited. Old messages count less
// and less.
//
// It counts only while a console is open. The zero value is ready for use. It is
// safe for concurrent use.
type Busiest struct {
	watched atomic.Bool

	mu      sync.Mutex
	seed    maphash.Seed
	used    int
	counts  [sketchSize]channelCount // the first used ones
	heap    [sketchSize]uint8        // indexes of counts; the one with the fewest messages is the first
	buckets [sketchBuckets]uint8     // 1 + index of counts, or 0; open addressing with linear probing
	began   time.Time
	aged    time.Time
}

// A channelCount has the counts of one channel.
type channelCount struct {
	name        [maxName]byte
	size        uint8  // of name
	bucket      uint16 // where it is in buckets
	place       uint8  // where it is in heap
	messages    float64
	inherited   float64 // how much of messages may belong to other channels
	bytes       float64
	subscribers int
}

// A BusyChannel is one of the busiest channels. Its rates are those of about the
// last ten seconds.
type BusyChannel struct {
	Channel     string `json:"channel"`
	Messages    number `json:"messages"` // per second
	Surplus     number `json:"surplus"`  // how much of it may belong to other channels
	Bytes       number `json:"bytes"`    // per second
	Subscribers int    `json:"subscribers"`
}

// Message counts a message. It allocates nothing, and waits only for
// [Busiest.Top].
func (b *Busiest) Message(channel []byte, bytes, subscribers int) {
	if !b.watched.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.watched.Load() { // stopped in between
		return
	}
	c := &b.counts[b.find(channel[:min(len(channel), maxName)])]
	c.messages++
	c.bytes += float64(bytes)
	c.subscribers = subscribers
	b.sink(int(c.place))
}

// start begins to count, from zero.
func (b *Busiest) start(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seed, b.used, b.began, b.aged = maphash.MakeSeed(), 0, now, now
	clear(b.buckets[:])
	b.watched.Store(true)
}

// stop ends counting.
func (b *Busiest) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watched.Store(false)
}

// top returns the n busiest channels, the busiest first.
func (b *Busiest) top(n int, now time.Time) []BusyChannel {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.age(now)
	// Of a constant rate, this part has been counted, and has not faded.
	seconds := sketchAge.Seconds() * (1 - fade(now.Sub(b.began)))
	if seconds <= 0 {
		return nil
	}
	list := make([]BusyChannel, 0, b.used)
	for i := range b.counts[:b.used] {
		c := &b.counts[i]
		list = append(list, BusyChannel{
			Channel: string(c.name[:c.size]), Messages: number(c.messages / seconds), Surplus: number(c.inherited / seconds),
			Bytes: number(c.bytes / seconds), Subscribers: c.subscribers,
		})
	}
	slices.SortFunc(list, func(x, y BusyChannel) int {
		return cmp.Or(cmp.Compare(y.Messages, x.Messages), cmp.Compare(x.Channel, y.Channel))
	})
	list = slices.DeleteFunc(list, func(c BusyChannel) bool { return c.Messages < 0.01 })
	return list[:min(n, len(list))]
}

// age makes all messages count less. The order of the heap remains.
func (b *Busiest) age(now time.Time) {
	rest := fade(now.Sub(b.aged))
	b.aged = now
	for i := range b.counts[:b.used] {
		c := &b.counts[i]
		c.messages, c.inherited, c.bytes = c.messages*rest, c.inherited*rest, c.bytes*rest
	}
}

// find returns the index of the channel's count. If the channel has none, it
// takes the place of the one with the fewest messages. The sketch is locked.
func (b *Busiest) find(name []byte) int {
	bucket := b.home(name)
	for ; b.buckets[bucket] != 0; bucket = (bucket + 1) % sketchBuckets {
		i := int(b.buckets[bucket]) - 1
		if c := &b.counts[i]; string(c.name[:c.size]) == string(name) {
			return i
		}
	}
	i := b.used
	if i < sketchSize {
		b.used++
		b.counts[i] = channelCount{place: uint8(i)}
		b.heap[i] = uint8(i)
		b.rise(i)
	} else {
		i = int(b.heap[0])
		b.remove(int(b.counts[i].bucket))
		for bucket = b.home(name); b.buckets[bucket] != 0; { // the removal may have moved others
			bucket = (bucket + 1) % sketchBuckets
		}
		c := &b.counts[i]
		c.inherited, c.bytes = c.messages, 0
	}
	c := &b.counts[i]
	c.size = uint8(copy(c.name[:], name))
	c.bucket = uint16(bucket)
	b.buckets[bucket] = uint8(i + 1)
	return i
}

func (b *Busiest) home(name []byte) int { return int(maphash.Bytes(b.seed, name) % sketchBuckets) }

// remove empties a bucket, and moves those after it that a search would no
// longer find.
func (b *Busiest) remove(hole int) {
	for next := (hole + 1) % sketchBuckets; b.buckets[next] != 0; next = (next + 1) % sketchBuckets {
		c := &b.counts[b.buckets[next]-1]
		home := b.home(c.name[:c.size])
		if (next-home+sketchBuckets)%sketchBuckets < (next-hole+sketchBuckets)%sketchBuckets {
			continue // its search begins after the hole
		}
		b.buckets[hole], c.bucket = b.buckets[next], uint16(hole)
		hole = next
	}
	b.buckets[hole] = 0
}

// sink moves the count at a place of the heap to where it belongs, after it has
// grown.
func (b *Busiest) sink(place int) {
	for {
		least := 2*place + 1
		if least >= b.used {
			return
		}
		if right := least + 1; right < b.used && b.at(right).messages < b.at(least).messages {
			least = right
		}
		if b.at(place).messages <= b.at(least).messages {
			return
		}
		b.swap(place, least)
		place = least
	}
}

// rise moves a new count from the end of the heap to where it belongs.
func (b *Busiest) rise(place int) {
	for place > 0 && b.at(place).messages < b.at((place-1)/2).messages {
		b.swap(place, (place-1)/2)
		place = (place - 1) / 2
	}
}

func (b *Busiest) at(place int) *channelCount { return &b.counts[b.heap[place]] }

func (b *Busiest) swap(i, j int) {
	b.heap[i], b.heap[j] = b.heap[j], b.heap[i]
	b.at(i).place, b.at(j).place = uint8(i), uint8(j)
}
