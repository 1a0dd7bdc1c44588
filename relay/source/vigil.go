package source

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay"
)

// A vigil asks, beside the link, whether its server is still the one to listen to. It belongs to one goroutine.
type vigil struct {
	link   *Link
	addr   string // of client
	client redis.UniversalClient
	mute   bool      // the server does not tell its role
	asked  time.Time // when the role was asked
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
	defer v.leave()
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
	if server.Mode == Sentinel {
		if addr, sure, err := server.master(ctx); err == nil && sure && addr != t.addr {
			return relay.CauseReplica, errDeposed
		}
	}
	v.visit(t.addr)
	if !v.mute && time.Since(v.asked) >= roleTick-busTick/2 {
		v.asked = time.Now()
		err := askRole(ctx, v.client)
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
		now, err := askBus(ctx, v.client)
		if err == nil && !maps.Equal(bus, now) {
			return relay.CauseCluster, errBus
		}
	}
	return 0, nil
}

// visit makes the client one for the very node that the link is connected to.
func (v *vigil) visit(addr string) {
	if v.link.cfg.Server.Mode == Standalone {
		v.client = v.link.commands
		return
	}
	if v.client != nil && v.addr == addr {
		return
	}
	v.leave()
	o := hurry(v.link.cfg.Server.nodeOptions())
	o.Addrs, o.PoolSize = []string{addr}, 1
	v.addr, v.client = addr, redis.NewUniversalClient(o)
	v.mute = false
}

// leave closes the client, if it is the vigil's own.
func (v *vigil) leave() {
	if v.client != nil && v.client != v.link.commands {
		_ = v.client.Close()
	}
	v.client = nil
}
