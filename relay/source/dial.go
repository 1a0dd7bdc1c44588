package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// subscriberOptions returns the options of the client that only subscribes. It
// is a client for a single node in every mode, and its dialer finds the node:
// go-redis's clients for Sentinel and Cluster would also dial for questions of
// their own, on connections that look like the link's. Dialling ends when run
// does.
func (l *Link) subscriberOptions(run context.Context) *redis.UniversalOptions {
	o := l.cfg.Server.nodeOptions()
	o.OnConnect = l.prepareConn
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if ctx.Value(linkKey{}) == nil {
			return l.cfg.Server.dial(ctx, network, addr)
		}
		return l.dial(ctx, run, network, addr)
	}
	return o
}

// commandOptions returns the options of the client that publishes and reads
// streams.
func (l *Link) commandOptions() *redis.UniversalOptions {
	o := withCommandLimits(l.cfg.Server.options())
	if l.cfg.Server.Mode == Sentinel {
		o.Dialer = l.dialCommand
	}
	return o
}

// dial opens the link's connection, on the link's goroutine. go-redis calls it
// as soon as the old connection ends, inside Receive and with a lock held, so
// it returns an error at once while the backoff lasts. It ends when run does.
func (l *Link) dial(ctx, run context.Context, network, addr string) (net.Conn, error) {
	if l.backoff.active() {
		return nil, errBackoff
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(run, cancel)()
	conn, addr, err := l.dialNode(ctx, network, addr)
	if err != nil {
		l.backoff.fail()
		return nil, err
	}
	c := newPubsubConn(conn, l)
	c.addr = addr
	if l.cfg.Server.Mode == Sentinel {
		l.deposed.follow(l.lastMaster, addr)
	}
	l.commandConns.follow(addr)
	if l.cfg.Server.Mode != Standalone {
		c.nodeClient = l.cfg.Server.nodeClient(addr)
	}
	if err := l.setConn(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// dialNode finds the node to listen to, opens a connection to it and returns
// its address. addr is go-redis's address, which it uses only if there is a
// single node.
func (l *Link) dialNode(ctx context.Context, network, addr string) (net.Conn, string, error) {
	server := l.cfg.Server
	switch server.Mode {
	case Sentinel:
		master, _, err := server.master(ctx)
		if err != nil {
			return nil, "", err
		}
		conn, err := server.dial(ctx, network, master.addr)
		return conn, master.addr, master.explain(err)
	case Cluster:
		addr, err := l.locate(ctx)
		if err != nil {
			return nil, "", err
		}
		conn, err := server.dial(ctx, network, addr)
		return conn, addr, server.announcer(ctx, addr, err)
	}
	conn, err := server.dial(ctx, network, addr)
	return conn, addr, err
}

// locate returns the address of the node of a cluster to listen to: the master
// that owns the slot of the marker channel, so that all relays listen to one
// node and receive all messages in one order.
func (l *Link) locate(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	cluster, ok := l.commands.(router)
	if !ok {
		return "", errNoRouter
	}
	// The client's view of the cluster may be outdated. It is good enough for
	// this attempt, and the next one uses the reloaded view.
	defer cluster.ReloadState(ctx)
	node, err := cluster.MasterForKey(ctx, l.cfg.Names.Marker())
	if err != nil {
		return "", fmt.Errorf("finding the cluster's node for the marker channel: %w", err)
	}
	addr := node.Options().Addr
	if err := ownsSlot(ctx, node, slotOf(l.cfg.Names.Marker())); err != nil && time.Since(l.epochEnded) < slotSettleTime {
		return "", l.cfg.Server.announcer(ctx, addr, err)
	}
	return addr, nil
}

// dialCommand opens a connection for commands to the link's server, in the mode
// Sentinel.
func (l *Link) dialCommand(ctx context.Context, network, _ string) (net.Conn, error) {
	addr := l.commandConns.current()
	if addr == "" {
		master, _, err := l.cfg.Server.master(ctx)
		if err != nil {
			return nil, err
		}
		addr = master.addr
	}
	conn, err := l.cfg.Server.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return l.commandConns.add(conn, addr)
}

// prepareConn is go-redis's OnConnect. It checks a connection of the link after
// the login and before the first subscription, on the link's goroutine. If it
// returns an error, go-redis closes the connection.
func (l *Link) prepareConn(ctx context.Context, conn *redis.Conn) error {
	if ctx.Value(linkKey{}) == nil {
		return nil
	}
	// The name appears in CLIENT LIST. The relay can do without it.
	if err := conn.Do(ctx, "CLIENT", "SETNAME", "sidecast-link").Err(); err != nil && !isRefusal(err) {
		return err
	}
	err := readRole(ctx, conn)
	if errors.Is(err, errRoleUnsupported) {
		l.reporter.roleUnsupported(err)
		err = nil
	}
	if err != nil {
		return err
	}
	if err := l.setNodeTag(ctx, conn); err != nil || l.cfg.Server.Mode != Cluster {
		return err
	}
	return l.setBusBaseline(ctx, conn)
}

// setNodeTag sets the node tag of the link's connection. It asks on this very
// connection, so that no failover can happen between the question and the
// subscriptions.
func (l *Link) setNodeTag(ctx context.Context, conn doer) error {
	node, err := readNodeTag(ctx, conn)
	if errors.Is(err, errNodeUnsupported) {
		l.reporter.nodeUnsupported(err)
		return nil
	}
	if c := l.current(); err == nil && c != nil { // it was dialled just before, on this goroutine
		c.node = node
	}
	return err
}

// setBusBaseline records the state of the cluster's bus before the first
// subscription, so that every later change is noticed. It waits until all nodes
// have links, for busSettleTime at most. Called on the link's goroutine.
func (l *Link) setBusBaseline(ctx context.Context, conn doer) error {
	for began := time.Now(); ; time.Sleep(busPollInterval) {
		bus, unlinked, err := readBus(ctx, conn)
		if errors.Is(err, errBusUnsupported) {
			l.reporter.busUnsupported(err)
			return nil
		}
		if err != nil {
			return err
		}
		if unlinked > 0 && time.Since(began) < busSettleTime {
			continue
		}
		if unlinked > 0 {
			l.reporter.nodesUnlinked(unlinked)
		}
		if c := l.current(); c != nil {
			c.bus.baseline = bus
		}
		return nil
	}
}
