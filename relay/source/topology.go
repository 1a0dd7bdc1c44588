package source

import (
	"context"
	"errors"
	"maps"
	"time"

	"sidecast/relay/stats"
)

// movedLimit is how many checks in a row must find the marker channel's slot at
// another node before the watcher reports it, because nodes learn of a move one
// after the other.
const movedLimit = 5

// A topologyWatcher asks whether the link's server is still the one to listen
// to, on connections other than the link's. It ends the link when the server
// has become a replica, when Sentinels name another master, and when messages
// may have been lost between the nodes of a cluster: Redis keeps its
// subscribers in all of these cases.
//
// It belongs to its own goroutine, which Run waits for.
type topologyWatcher struct {
	link            *Link
	conn            *pubsubConn // the connection of the last check
	roleUnsupported bool        // the server does not report its role
	roleAskedAt     time.Time
	movedCount      int // checks in a row that found the marker channel's slot at another node
}

// run checks periodically until ctx ends.
func (w *topologyWatcher) run(ctx context.Context) {
	interval := roleInterval
	if w.link.cfg.Server.Mode == Cluster {
		interval = busInterval
	}
	every(ctx, interval, func() bool {
		// Take the connection before asking, so that the answer cannot end a
		// later one.
		c := w.link.current()
		if c == nil || !c.epochRunning.Load() {
			return true
		}
		limited, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		if cause, err := w.check(limited, c); err != nil {
			c.cut(cause, err)
		}
		return true
	})
}

// check returns why the connection must end, or a nil error. A question that
// fails is not a reason.
func (w *topologyWatcher) check(ctx context.Context, c *pubsubConn) (stats.Cause, error) {
	server := w.link.cfg.Server
	if w.conn != c {
		*w = topologyWatcher{link: w.link, conn: c}
	}
	var node doer = w.link.commands
	if c.nodeClient != nil {
		node = c.nodeClient
	}
	if server.Mode == Sentinel {
		if master, certain, err := server.master(ctx); err == nil && certain && master.addr != c.addr {
			return stats.CauseReplica, errMasterChanged
		}
	}
	if !w.roleUnsupported && time.Since(w.roleAskedAt) >= roleInterval-busInterval/2 {
		w.roleAskedAt = time.Now()
		err := readRole(ctx, node)
		if errors.Is(err, errReplica) || errors.Is(err, errSentinelRole) {
			return stats.CauseReplica, err
		}
		w.roleUnsupported = errors.Is(err, errRoleUnsupported) // the next answer would be the same
	}
	if server.Mode != Cluster {
		return 0, nil
	}
	if cluster, ok := w.link.commands.(router); ok {
		w.checkSlot(ctx, cluster)
		cluster.ReloadState(ctx)
	}
	if baseline := c.bus.baseline; baseline != nil {
		now, _, err := readBus(ctx, node)
		if err == nil && !maps.Equal(baseline, now) {
			return stats.CauseCluster, errBusChanged
		}
	}
	return 0, nil
}

// checkSlot checks whether the connection's node still has the slot of the
// marker channel. If it has not, the link stays and logs a warning: following
// the slot would cause a gap for every client, and staying causes one only for
// clients that change to another replica of the relay.
func (w *topologyWatcher) checkSlot(ctx context.Context, cluster router) {
	node, err := cluster.MasterForKey(ctx, w.link.cfg.Names.Marker())
	if err != nil || w.link.cfg.MarkersOff {
		return
	}
	if addr := node.Options().Addr; addr == w.conn.addr {
		w.movedCount = 0
	} else if w.movedCount++; w.movedCount == movedLimit {
		w.link.reporter.markerSlotMoved(w.conn.addr, addr)
	}
}
