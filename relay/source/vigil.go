package source

import (
	"context"
	"errors"
	"maps"
	"time"

	"sidecast/relay"
)

// A vigil asks, beside the link, whether its server is still the one to listen to. It belongs to one goroutine.
type vigil struct {
	link  *Link
	conn  *tap      // that was judged last
	mute  bool      // its server does not tell its role
	asked time.Time // when the role was asked
}

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
func (v *vigil) judge(ctx context.Context, t *tap) (relay.Cause, error) {
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
			return relay.CauseReplica, errDeposed
		}
	}
	if !v.mute && time.Since(v.asked) >= roleTick-busTick/2 {
		v.asked = time.Now()
		err := askRole(ctx, node)
		if errors.Is(err, errReplica) || errors.Is(err, errRole) {
			return relay.CauseReplica, err
		}
		v.mute = errors.Is(err, errUnknownRole) // nor will it next time
	}
	if server.Mode != Cluster {
		return 0, nil
	}
	if cluster, ok := v.link.commands.(router); ok {
		cluster.ReloadState(ctx)
	}
	if bus := t.bus; bus != nil {
		now, err := askBus(ctx, node)
		if err == nil && !maps.Equal(bus, now) {
			return relay.CauseCluster, errBus
		}
	}
	return 0, nil
}
