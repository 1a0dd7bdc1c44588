package relay

import "testing"

// There are subscribers for every shard that had a subscription, and they stay where they are in memory.
func TestFanoutShards(t *testing.T) {
	ch := new(channel)
	for shard := range 3 {
		if ch.Hub.in(shard) != nil || ch.Hub.reaches(shard) {
			t.Errorf("shard %d has subscribers before the first subscription", shard)
		}
	}
	ch.Hub.ensureShard(1, 3)
	home := ch.Hub.in(1)
	if home == nil || ch.Hub.in(0) != nil || ch.Hub.others.Load() != nil {
		t.Error("the first subscription needs more than the channel's own room")
	}
	ch.Hub.ensureShard(2, 3)
	away := ch.Hub.in(2)
	ch.Hub.ensureShard(0, 3)
	ch.Hub.ensureShard(1, 3)
	if ch.Hub.in(1) != home || ch.Hub.in(2) != away || away == nil || ch.Hub.in(0) == nil {
		t.Error("subscribers move when there are more shards")
	}
	away.count.Add(1)
	if ch.Hub.reaches(0) || ch.Hub.reaches(1) || !ch.Hub.reaches(2) {
		t.Error("a shard without subscribers is reached")
	}
}
