package source

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// checkMemory checks what happens to the keys of the application and of the
// relay when the memory is full, in a cluster at each master. It reports one
// master, if possible one with a problem.
func (c *check) checkMemory(ctx context.Context) {
	info := c.info(ctx, c.node, "memory", "memory")
	if info == "" {
		return
	}
	level, text, do := memoryFinding(info, c.stored())
	if cluster, ok := c.client.(masters); ok && level == LevelOK {
		var mu sync.Mutex
		_ = cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
			info, err := master.Info(ctx, "memory").Result()
			mu.Lock()
			defer mu.Unlock()
			if found, why, advice := memoryFinding(info, c.stored()); err == nil && found > level {
				level, text, do = found, "at "+master.Options().Addr+", "+why, advice
			}
			return nil
		})
	}
	c.add(level, "memory", text, do)
}

// A store is a kind of keys that the relay, or the application for it, has in
// Redis.
type store struct {
	expires bool   // they have a time to live
	evicted string // the consequence if Redis deletes some
	refused string // the consequence if Redis refuses writes
}

// stored returns the keys that are in use with these settings.
func (c *check) stored() (list []store) {
	uses := c.cfg.Features
	for _, s := range []struct {
		used bool
		store
	}{
		{len(c.cfg.Durable) > 0, store{false, "messages of durable channels are lost", "messages for durable channels are rejected"}},
		{c.cfg.Logins, store{false, "logins that the application has ended become valid again", "the application cannot end logins"}},
		{uses.Presence, store{false, "members of channels are missing", "members of channels are missing"}},
		{uses.Events || uses.Webhooks, store{false, "events are lost", "events are lost"}},
		{uses.Unheard, store{true, "messages are reported as unheard although a client received them", "unheard messages are not reported"}},
		{uses.Counts, store{true, "numbers of subscriptions are wrong for a while", "numbers of subscriptions are missing"}},
	} {
		if s.used {
			list = append(list, s.store)
		}
	}
	return list
}

// memoryFinding describes what happens to stored keys when the memory of a
// server is full.
func memoryFinding(info string, stored []store) (level Level, text, do string) {
	used, limit, policy := infoNumber(info, "used_memory"), infoNumber(info, "maxmemory"), infoField(info, "maxmemory_policy")
	if limit <= 0 {
		return LevelOK, sizeText(used) + " are in use, and there is no maxmemory", ""
	}
	percent := 100 * float64(used) / float64(limit)
	text = fmt.Sprintf("%.0f %% of maxmemory (%s) are in use, and the policy is %s", math.Floor(percent), sizeText(limit), policy)
	var evicted, refused []string
	for _, s := range stored {
		if strings.HasPrefix(policy, "allkeys-") || strings.HasPrefix(policy, "volatile-") && s.expires {
			evicted = append(evicted, s.evicted)
		} else {
			refused = append(refused, s.refused)
		}
	}
	switch full := percent >= 90; {
	case len(evicted) > 0:
		return LevelWarn, text + ": when it is full, Redis deletes keys, and then " + strings.Join(evicted, "; "),
			"set maxmemory-policy to noeviction, and use another Redis as a cache"
	case len(refused) > 0 && full:
		return LevelWarn, text + ": when it is full, Redis refuses writes, and then " + strings.Join(refused, "; "),
			"raise maxmemory in Redis, delete data, or trim streams with MAXLEN"
	case len(stored) == 0:
		text += "; live channels need no keys"
	}
	return LevelOK, text, ""
}

// sizeText returns a number of bytes as text.
func sizeText(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	size, unit := float64(n), 0
	for size >= 1024 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	return strconv.FormatFloat(float64(int64(size*10))/10, 'f', -1, 64) + " " + units[unit]
}
