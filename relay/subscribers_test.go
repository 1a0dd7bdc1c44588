package relay

import "testing"

// Every shard that had a subscription has subscribers, and they do not move in
// memory.
func TestFanoutShards(t *testing.T) {
	ch := new(channel)
	for shard := range 3 {
		if ch.Hub.in(shard) != nil || ch.Hub.reaches(shard) {
			t.Errorf("shard %d has subscribers before the first subscription", shard)
		}
	}
	ch.Hub.ensureShard(1, 3)
	first := ch.Hub.in(1)
	if first == nil || ch.Hub.in(0) != nil || ch.Hub.others.Load() != nil {
		t.Error("the first subscription needs more than the channel's own memory")
	}
	ch.Hub.ensureShard(2, 3)
	other := ch.Hub.in(2)
	ch.Hub.ensureShard(0, 3)
	ch.Hub.ensureShard(1, 3)
	if ch.Hub.in(1) != first || ch.Hub.in(2) != other || other == nil || ch.Hub.in(0) == nil {
		t.Error("subscribers move when there are more shards")
	}
	other.count.Add(1)
	if ch.Hub.reaches(0) || ch.Hub.reaches(1) || !ch.Hub.reaches(2) {
		t.Error("a shard without subscribers is reached")
	}
}
