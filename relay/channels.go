package relay

import "hash/maphash"

// channels are those that a hub knows, by a hash of their names: a map of names would compare a name in the channel's
// memory before it says which channel that is, and wait for it. It is guarded by the hub's mu.
type channels struct {
	seed    maphash.Seed
	first   map[uint64]*channel // of those with one hash; the others follow as next
	removed uint64              // how many were
	touched uint64              // keeps the compiler from leaving touch out
}

func newChannels() *channels {
	return &channels{seed: maphash.MakeSeed(), first: make(map[uint64]*channel)}
}

// hash is what find wants to know of a name. It needs no lock.
func (c *channels) hash(name []byte) uint64 { return maphash.Bytes(c.seed, name) }

// find returns the channel with that name and its hash, or nil.
func (c *channels) find(hash uint64, name []byte) *channel { return c.first[hash].named(name) }

// named returns the one with that name of those with one hash, or nil.
func (ch *channel) named(name []byte) *channel {
	for ch != nil && ch.name != string(name) {
		ch = ch.next
	}
	return ch
}

// touch has what a message needs of channels fetched into the caches. The processor waits for all of them at once, because
// which one it is does not depend on what is in another; some may be nil.
func (c *channels) touch(list []arrival) {
	for i := range list {
		if ch := list[i].channel; ch != nil {
			c.touched += ch.newest + uint64(ch.first.count.Load()) + uint64(ch.text[0])
		}
	}
}

// add returns the channel with that name and its hash, and whether it is new.
func (c *channels) add(hash uint64, name string) (ch *channel, isNew bool) {
	first := c.first[hash]
	if ch = first.named([]byte(name)); ch != nil {
		return ch, false
	}
	ch = newChannel(name)
	ch.hash, ch.next = hash, first
	c.first[hash] = ch
	return ch, true
}

// remove forgets a channel, if it is known.
func (c *channels) remove(ch *channel) {
	c.removed++
	before := c.first[ch.hash]
	switch {
	case before != ch:
		for before != nil && before.next != ch {
			before = before.next
		}
		if before != nil {
			before.next = ch.next
		}
	case ch.next == nil:
		delete(c.first, ch.hash)
	default:
		c.first[ch.hash] = ch.next
	}
}
