package source

import (
	"context"
	"errors"
	"maps"
	"time"

	"sidecast/relay/stats"
)

// A vigil asks, beside the link, whether its server is still the one to listen to. It belongs to the goroutine of
// watchServer, which Run waits for.
type vigil struct {
	link  *Link
	conn  *tap      // that was judged last
	mute  bool      // its server does not tell its role
	asked time.Time // when the role was asked
	away  int       // looks in a row at which another node had the slot of the marker channel
}

// awayLooks is how often another node must have the slot before that is believed: nodes learn of a move one by one.
const awayLooks = 5

// watchServer ends the link when its server has become a replica, when Sentinels name another master, and when messages
// may have been lost between the nodes of a cluster. Redis keeps its subscribers through all of these.
func (l *Link) watchServer(ctx context.Context) {
	tick := roleTick
	if l.cfg.Server.Mode == Cluster {
		tick = busTick
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	v := &vigil{link: l}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// The conn is taken before anything is asked, so that the answer cannot end the one that follows it.
		t := l.current()
		if t == nil || !t.epoch.Load() {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, commandTimeout)
		if cause, err := v.judge(limited, t); err != nil {
			t.cut(cause, err)
		}
		cancel()
	}
}

// judge returns why the conn must end, or nil. What could not be asked is no reason.
func (v *vigil) judge(ctx context.Context, t *tap) (stats.Cause, error) {
	server := v.link.cfg.Server
	if v.conn != t {
		*v = vigil{link: v.link, conn: t}
	}
	var node asker = v.link.commands
	if t.beside != nil {
		node = t.beside
	}
	if server.Mode == Sentinel {
		if addr, sure, err := server.master(ctx); err == nil && sure && addr != t.addr {
			return stats.CauseReplica, errDeposed
		}
	}
	if !v.mute && time.Since(v.asked) >= roleTick-busTick/2 {
		v.asked = time.Now()
		err := askRole(ctx, node)
		if errors.Is(err, errReplica) || errors.Is(err, errRole) {
			return stats.CauseReplica, err
		}
		v.mute = errors.Is(err, errUnknownRole) // nor will it next time
	}
	if server.Mode != Cluster {
		return 0, nil
	}
	if cluster, ok := v.link.commands.(router); ok {
		v.compare(ctx, cluster)
		cluster.ReloadState(ctx)
	}
	if bus := t.bus; bus != nil {
		now, _, err := askBus(ctx, node)
		if err == nil && !maps.Equal(bus, now) {
			return stats.CauseCluster, errBus
		}
	}
	return 0, nil
}

// compare looks whether the conn's node still has the slot of the marker channel. To follow it would cost every client a
// gap, and to stay costs one only those who change replicas, so the link stays and says so.
func (v *vigil) compare(ctx context.Context, cluster router) {
	node, err := cluster.MasterForKey(ctx, v.link.cfg.Names.Marker())
	if err != nil || v.link.cfg.MarkersOff {
		return
	}
	if addr := node.Options().Addr; addr == v.conn.addr {
		v.away = 0
	} else if v.away++; v.away == awayLooks {
		v.link.warnAway(v.conn.addr, addr)
	}
}
