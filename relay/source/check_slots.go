package source

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// slotCount is the number of slots of every cluster.
const slotCount = 16384

// checkSlots checks whether a node of the cluster serves each slot. Redis
// usually refuses all commands with keys otherwise.
func (c *check) checkSlots(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	ask := redis.NewClusterSlotsCmd(ctx, "CLUSTER", "SLOTS")
	_ = c.node.Process(ctx, ask)
	served, err := ask.Result()
	if err != nil { // unlikely: the client has asked for the slots before
		c.failure("slots", err)
		return
	}
	level, text, do := slotsFinding(served)
	c.add(level, "slots", text, do)
}

// slotsFinding describes which slots a cluster serves.
func slotsFinding(served []redis.ClusterSlot) (level Level, text, do string) {
	var covered [slotCount]bool
	for _, r := range served {
		for slot := max(r.Start, 0); slot <= min(r.End, slotCount-1) && len(r.Nodes) > 0; slot++ {
			covered[slot] = true
		}
	}
	var ranges []string
	missing := 0
	for slot := 0; slot < slotCount; slot++ {
		first := slot
		for slot < slotCount && !covered[slot] {
			slot++
		}
		if missing += slot - first; slot > first {
			ranges = append(ranges, fmt.Sprintf("%d-%d", first, slot-1))
		}
	}
	if missing == 0 {
		return LevelOK, fmt.Sprintf("a node serves each of the %d", slotCount), ""
	}
	if len(ranges) > 3 {
		ranges = append(ranges[:3], "...")
	}
	return LevelFail, fmt.Sprintf("no node serves %d of %d (%s): durable channels there cannot be used, "+
			"and with cluster-require-full-coverage the others cannot either", missing, slotCount, strings.Join(ranges, ", ")),
		"run redis-cli --cluster check, then --cluster fix, or start the nodes that are missing"
}
