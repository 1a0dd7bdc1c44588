package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A router is go-redis's client for a cluster.
type router interface {
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ReloadState(ctx context.Context)
}

// errNoRouter says that Connect made a client of another kind than the mode needs.
var errNoRouter = errors.New("the client for commands is none for a cluster")

// locate returns the address of the node to listen to: the master that Sentinels name, or in a cluster the one that holds
// the slot of the marker channel, so that all relays meet at one node and hear all messages in one order.
func (l *Link) locate(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if l.cfg.Server.Mode == Sentinel {
		addr, _, err := l.cfg.Server.master(ctx)
		return addr, err
	}
	cluster, ok := l.commands.(router)
	if !ok {
		return "", errNoRouter
	}
	// What is known may be old. It is good enough to try, and the next attempt will know better.
	defer cluster.ReloadState(ctx)
	node, err := cluster.MasterForKey(ctx, l.cfg.Names.Marker())
	if err != nil {
		return "", fmt.Errorf("finding the cluster's node for the marker channel: %w", err)
	}
	if err := owns(ctx, node, slotOf(l.cfg.Names.Marker())); err != nil && time.Since(l.lost) < slotSettle {
		return "", err
	}
	return node.Options().Addr, nil
}

// slotSettle is how long the nodes of a cluster may take to agree on who has a slot. Then the link goes where it can.
const slotSettle = 5 * time.Second

// errNotOwner says that a node has not the slot for which it was named.
var errNotOwner = errors.New("the node that is named for the marker channel says that it has not its slot")

// owns asks a node whether it has a slot. Where a view of the cluster has nobody for a slot, as for a moment in a failover,
// go-redis names any node for it, and a link that went there would stay, alone.
func owns(ctx context.Context, node *redis.Client, slot int) error {
	ask := redis.NewClusterSlotsCmd(ctx, "CLUSTER", "SLOTS") // CLUSTER SHARDS needs Redis 7.0, and a right of its own
	_ = node.Process(ctx, ask)
	spans, err := ask.Result()
	if err != nil {
		return fmt.Errorf("asking a node for its slots: %w", err)
	}
	for _, span := range spans {
		if span.Start <= slot && slot <= span.End && len(span.Nodes) > 0 && isNode(span.Nodes[0].Addr, node) {
			return nil
		}
	}
	return errNotOwner
}

// isNode reports whether an address that a node told of itself may be its own. One that does not know its host tells none,
// or a loopback's.
func isNode(told string, node *redis.Client) bool {
	if told == node.Options().Addr || told == node.NodeAddress() {
		return true
	}
	host, port, err := net.SplitHostPort(told)
	_, dialled, _ := net.SplitHostPort(node.Options().Addr)
	vague := host == "" || host == "localhost" || net.ParseIP(host).IsLoopback()
	return err == nil && vague && port == dialled
}

// slotOf returns the slot of a cluster that a name belongs to: CRC-16/XMODEM of what is in its first braces, or of all.
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

// send publishes once. In a cluster it is the master of the channel's slot that is told: any node would do, but go-redis
// takes another each time, and then two messages of one client could change places.
func (l *Link) send(ctx context.Context, name string, payload any) (int64, error) {
	if l.cfg.Server.Mode != Cluster {
		return l.commands.Publish(ctx, name, payload).Result()
	}
	cluster, ok := l.commands.(router)
	if !ok {
		return 0, errNoRouter
	}
	node, err := cluster.MasterForKey(ctx, name)
	if err != nil {
		return 0, err
	}
	receivers, err := node.Publish(ctx, name, payload).Result()
	if err != nil {
		cluster.ReloadState(ctx)
	}
	return max(1, receivers), err // the node counts its own subscribers only
}

// A busState is which nodes of a cluster have a link to a node, and since when in the node's milliseconds. What is
// published at a node comes over its link; when that breaks, what was in it is lost though PUBLISH was answered.
type busState map[string]int64

// errBus says that messages may have been lost between the nodes of a cluster.
var errBus = errors.New("a node of the cluster came, went or lost its link to the node that we listen to: " +
	"what was published there may be missing")

// errUnknownBus says that the server does not tell, as those before 7.0.
var errUnknownBus = errors.New("the server does not tell of its cluster's bus")

// askBus returns the links of other nodes to the one behind conn, and how many nodes are unlinked: it has a link to them,
// but they have none to it, so that nothing that is published there reaches it.
func askBus(ctx context.Context, conn asker) (state busState, unlinked int, err error) {
	reply, err := conn.Do(ctx, "CLUSTER", "LINKS").Slice()
	if err != nil {
		if isRefusal(err) {
			return nil, 0, errUnknownBus
		}
		return nil, 0, err
	}
	state, known := make(busState), make(map[string]bool)
	for _, link := range reply {
		fields := readPairs(link)
		node, _ := fields["node"].(string)
		since, ok := fields["create-time"].(int64)
		switch {
		case ok && fields["direction"] == "from":
			state[node] = max(state[node], since)
		case ok:
			known[node] = true
		}
	}
	for node := range known {
		if _, heard := state[node]; !heard {
			unlinked++
		}
	}
	return state, unlinked, nil
}

// readPairs reads a map, as RESP3 has it or as RESP2 writes it.
func readPairs(reply any) map[string]any {
	fields := make(map[string]any)
	switch reply := reply.(type) {
	case map[any]any:
		for key, value := range reply {
			fields[fmt.Sprint(key)] = value
		}
	case []any:
		for i := 0; i+1 < len(reply); i += 2 {
			fields[fmt.Sprint(reply[i])] = reply[i+1]
		}
	}
	return fields
}

// The times of the bus. It is looked at every busTick, so that a loss is told of even if nothing follows, and before
// anything that was read is handed over, though not more often than every busPause: messages wait that long at most.
const (
	busTick  = time.Second
	busPause = 5 * time.Millisecond
)

// A node whose link broke opens a new one within a tenth of a second, if it can. An epoch that began before would miss what
// is published there until then, while it hears others on the same channels. So the beginning waits for all nodes, but
// not for long: one may be dead.
const (
	busSettle = 2 * time.Second
	busLook   = 20 * time.Millisecond
)

// readBus notes the state of the cluster's bus before anything is subscribed to: what changes from here on, the epoch
// would not hear of. Called on the link's goroutine.
func (l *Link) readBus(ctx context.Context, conn asker) error {
	for began := time.Now(); ; time.Sleep(busLook) {
		bus, unlinked, err := askBus(ctx, conn)
		if errors.Is(err, errUnknownBus) {
			l.warned.bus.Do(l.warnBus)
			return nil
		}
		if err != nil {
			return err
		}
		if unlinked > 0 && time.Since(began) < busSettle {
			continue
		}
		if unlinked > 0 {
			l.warnUnlinked(unlinked)
		}
		if t := l.current(); t != nil {
			t.bus = bus
		}
		return nil
	}
}

// verify holds back what was just read until the bus was seen whole. A node whose link broke has a new one before
// anything more comes from it, so a message behind a hole is never handed over before the epoch ended. A server that does
// not answer is asked again for as long as it may be silent. Called by the reader.
func (t *tap) verify() error {
	if t.bus == nil || t.busMute {
		return nil
	}
	if wait := busPause - time.Since(t.verified); wait > 0 {
		time.Sleep(wait)
	}
	for began := time.Now(); ; {
		t.verified = time.Now()
		now, err := t.askBus()
		switch {
		case errors.Is(err, errUnknownBus):
			t.busMute = true
			t.link.warned.bus.Do(t.link.warnBus)
			return nil
		case err == nil && maps.Equal(t.bus, now):
			return nil
		case err == nil:
			return errBus
		case t.isCut() || time.Since(began) >= deadAfter-commandTimeout:
			return fmt.Errorf("looking at the cluster's bus: %w: %w", errSilent, err)
		}
	}
}

func (t *tap) askBus() (busState, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	state, _, err := askBus(ctx, t.beside)
	return state, err
}
