package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/redis/go-redis/v9"
)

// An announcement is the address of a server that another one has announced.
// Behind a NAT, as in containers, servers announce addresses that only they can
// reach.
type announcement struct {
	addr string
	by   string // who announced it; empty if that is unknown
}

// announcedError reports that an announced address cannot be reached.
type announcedError struct {
	announcement
	err error
}

func (e *announcedError) Error() string {
	by := e.by
	if by == "" {
		by = "the cluster"
	}
	return fmt.Sprintf("%s announces the address %s: %v", by, e.addr, e.err)
}

func (e *announcedError) Unwrap() error { return e.err }

// explain adds the announcement to an error of dialling the address. It returns
// other errors unchanged.
func (a announcement) explain(err error) error {
	if !isDialError(err) {
		return err
	}
	return &announcedError{a, err}
}

// isDialError reports whether no connection could be opened.
func isDialError(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// announcer adds to an error of dialling a node of a cluster which of the
// configured nodes announced its address. It returns other errors unchanged, and
// those of addresses that are configured.
func (s Server) announcer(ctx context.Context, addr string, err error) error {
	if !isDialError(err) || slices.Contains(s.addresses(), addr) {
		return err
	}
	a := announcement{addr: addr}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	for _, node := range s.addresses() {
		if s.announces(ctx, node, addr) {
			a.by = "node " + node
			break
		}
	}
	return &announcedError{a, err}
}

// announces reports whether a node of a cluster names an address in its slots.
func (s Server) announces(ctx context.Context, node, addr string) bool {
	client := s.nodeClient(node)
	defer client.Close()
	ask := redis.NewClusterSlotsCmd(ctx, "CLUSTER", "SLOTS")
	_ = client.Process(ctx, ask)
	return slices.ContainsFunc(ask.Val(), func(slots redis.ClusterSlot) bool {
		return slices.ContainsFunc(slots.Nodes, func(n redis.ClusterNode) bool { return sameNetwork(n.Addr, node) == addr })
	})
}

// explainAnnounced explains why an announced address cannot be reached.
func explainAnnounced(err *announcedError) (problem, do string) {
	problem, _ = explainNetwork(err.err)
	return "the address that Redis announces cannot be reached from here: " + problem,
		"announce an address that this host reaches: replica-announce-ip, or cluster-announce-ip or " +
			"cluster-announce-hostname in a cluster, and the port likewise; for Sentinels, name the master with it"
}
