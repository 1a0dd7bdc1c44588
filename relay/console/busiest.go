package console

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

const (
	// sketchSize is how many channels a [busiest] counts at a time.
	sketchSize = 128
	// sketchAge is the time after which a message counts 1/e.
	sketchAge = 10 * time.Second
)

// A busiest finds the channels with the most messages, in constant memory: it
// is a space-saving sketch (Metwally, Agrawal and El Abbadi, 2005). It counts
// [sketchSize] channels. A message on another channel takes the place of the
// channel with the fewest messages and inherits its count, so a count is never
// too low, and too high by at most the part that was inherited. Old messages
// count less and less.
type busiest struct {
	counts map[string]*channelCount
	heap   countHeap // the same counts; the one with the fewest messages is the first
	began  time.Time
	aged   time.Time
}

// A channelCount has the counts of one channel.
type channelCount struct {
	channel     string
	place       int // in the heap
	messages    float64
	inherited   float64 // how much of messages may belong to other channels
	bytes       float64
	subscribers int // at the last message
}

// A busyChannel is one of the busiest channels. Its rates are those of about the
// last ten seconds.
type busyChannel struct {
	Channel     string `json:"channel"`
	Messages    number `json:"messages"` // per second
	Surplus     number `json:"surplus"`  // how much of it may belong to other channels
	Bytes       number `json:"bytes"`    // per second
	Subscribers int    `json:"subscribers"`
}

func newBusiest(now time.Time) *busiest {
	return &busiest{counts: make(map[string]*channelCount, sketchSize), began: now, aged: now}
}

// message counts a message.
func (b *busiest) message(channel string, bytes, subscribers int) {
	c := b.counts[channel]
	switch {
	case c != nil:
	case len(b.heap) < sketchSize:
		c = &channelCount{channel: channel}
		heap.Push(&b.heap, c)
		b.counts[channel] = c
	default:
		c = b.heap[0]
		delete(b.counts, c.channel)
		c.channel, c.inherited, c.bytes = channel, c.messages, 0
		b.counts[channel] = c
	}
	c.messages++
	c.bytes += float64(bytes)
	c.subscribers = subscribers
	heap.Fix(&b.heap, c.place)
}

// top returns the n busiest channels, the busiest first.
func (b *busiest) top(n int, now time.Time) []busyChannel {
	b.age(now)
	// Of a constant rate, this part has been counted and has not faded.
	seconds := sketchAge.Seconds() * (1 - fade(now.Sub(b.began)))
	if seconds <= 0 {
		return nil
	}
	list := make([]busyChannel, 0, len(b.heap))
	for _, c := range b.heap {
		list = append(list, busyChannel{
			Channel: c.channel, Messages: number(c.messages / seconds), Surplus: number(c.inherited / seconds),
			Bytes: number(c.bytes / seconds), Subscribers: c.subscribers,
		})
	}
	list = slices.DeleteFunc(list, func(c busyChannel) bool { return c.Messages < 0.01 })
	slices.SortFunc(list, func(x, y busyChannel) int {
		return cmp.Or(cmp.Compare(y.Messages, x.Messages), cmp.Compare(x.Channel, y.Channel))
	})
	return list[:min(n, len(list))]
}

// age makes all messages count less. The order of the heap remains.
func (b *busiest) age(now time.Time) {
	rest := fade(now.Sub(b.aged))
	b.aged = now
	for _, c := range b.heap {
		c.messages, c.inherited, c.bytes = c.messages*rest, c.inherited*rest, c.bytes*rest
	}
}

// A countHeap implements [heap.Interface].
type countHeap []*channelCount

func (h countHeap) Len() int           { return len(h) }
func (h countHeap) Less(i, j int) bool { return h[i].messages < h[j].messages }

func (h countHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *countHeap) Push(x any) {
	c := x.(*channelCount)
	c.place = len(*h)
	*h = append(*h, c)
}

// Pop is part of the interface. No count is removed.
func (h *countHeap) Pop() any { panic("unused") }
