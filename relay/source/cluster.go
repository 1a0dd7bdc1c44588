package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/loopback"
)

// A router is go-redis's client for a cluster.
type router interface {
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ReloadState(ctx context.Context)
}

// errNoRouter reports that Connect returned a client of the wrong kind.
var errNoRouter = errors.New("the client for commands is not a cluster client")

// slotSettleTime is how long the nodes of a cluster may take to agree on the
// owner of a slot. After that the link connects to the node that is named.
const slotSettleTime = 5 * time.Second

// errSlotMoved reports that a node does not own the slot for which it was
// named.
var errSlotMoved = errors.New("the node named for the marker channel does not own its slot")

// ownsSlot asks a node whether it owns a slot. If a node sees no owner for a
// slot, as it may for a moment in a failover, go-redis names an arbitrary node,
// and a link to that one would stay there without the other relays.
func ownsSlot(ctx context.Context, node *redis.Client, slot int) error {
	ask := redis.NewClusterSlotsCmd(ctx, "CLUSTER", "SLOTS") // CLUSTER SHARDS needs Redis 7.0, and a separate right
	_ = node.Process(ctx, ask)
	ranges, err := ask.Result()
	if err != nil {
		return fmt.Errorf("asking a node for its slots: %w", err)
	}
	for _, r := range ranges {
		if r.Start <= slot && slot <= r.End && len(r.Nodes) > 0 && isSameNode(r.Nodes[0].Addr, node) {
			return nil
		}
	}
	return errSlotMoved
}

// isSameNode reports whether the address that a node reports for itself may be
// the one at which it was dialled. A node that does not know its host reports
// no host, or a loopback address.
func isSameNode(reported string, node *redis.Client) bool {
	if reported == node.Options().Addr || reported == node.NodeAddress() {
		return true
	}
	host, port, err := net.SplitHostPort(reported)
	_, dialled, _ := net.SplitHostPort(node.Options().Addr)
	unknown := host == "" || loopback.Host(host)
	return err == nil && unknown && port == dialled
}

// slotOf returns the cluster slot of a name: the CRC-16/XMODEM of the part in
// its first braces, or of the whole name.
func slotOf(name string) int {
	if _, rest, ok := strings.Cut(name, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			name = tag
		}
	}
	var crc uint16
	for _, b := range []byte(name) {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc % 16384)
}
