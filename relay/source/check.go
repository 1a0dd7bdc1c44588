package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Level is the severity of a [Finding].
type Level int

// The levels.
const (
	LevelOK   Level = iota
	LevelWarn       // the relay works, but a feature is missing
	LevelFail       // the relay does not work, or loses messages
)

var levelNames = [...]string{"ok", "warn", "fail"}

// String returns ok, warn or fail.
func (l Level) String() string { return levelNames[l] }

// A Finding is the result of one step of [Check].
type Finding struct {
	Level   Level
	Subject string // such as `role` or `pattern chat:*`
	Text    string // the result
	Do      string // advice for the operator; empty with LevelOK
}

// Limits of a check.
const (
	checkStep   = 3 * time.Second         // each question
	checkListen = markerOwn + time.Second // every other relay publishes a marker within this time
)

// Check checks that the server of cfg provides everything that a link needs,
// and looks for other relays on it, which takes some seconds more if there are
// any. It changes nothing and publishes a few messages, which relays ignore: an
// empty one on the marker channel, and an empty one and those that it expects to
// receive on its own channel. It stops early if the server cannot be reached.
// cfg needs no Logger and no Stats.
func Check(ctx context.Context, cfg Config) []Finding {
	silenceGoRedis()
	if cfg.Connect == nil {
		cfg.Connect = newClient
	}
	if err := cfg.Server.validate(); err != nil {
		return []Finding{{LevelFail, "server", err.Error(), "set SIDECAST_REDIS_URL"}}
	}
	c := &check{addr: cfg.Server.Address}
	if cfg.Server.TLS != nil {
		cfg.Server.TLS = c.sent.watch(cfg.Server.TLS)
	}
	c.cfg, c.client = cfg, cfg.Connect(cfg.Server.options())
	defer c.client.Close()
	c.node = c.client
	if !c.findNode(ctx) || !c.logIn(ctx) {
		return c.findings
	}
	c.checkCertificates()
	c.checkVersion(ctx)
	c.checkRole(ctx)
	c.checkClock(ctx)
	c.checkServer(ctx)
	if cfg.Server.Mode == Cluster {
		c.checkSlots(ctx)
		c.checkBus(ctx)
		c.checkMasters(ctx)
	}
	for _, pattern := range subscriptions(cfg.Names, cfg.Patterns) {
		c.checkPattern(ctx, pattern)
	}
	for _, pattern := range cfg.Durable {
		c.checkStreams(ctx, pattern)
	}
	if cfg.Server.Mode == Cluster && len(cfg.Durable) > 0 {
		c.checkRedirects(ctx)
	}
	if cfg.Logins {
		c.checkLogins(ctx)
	}
	c.checkChannel(ctx, cfg.Names.Public("control"), "the relay ignores what the application does to connections")
	c.checkFeatures(ctx)
	if cfg.MarkersOff {
		c.warn("markers", "switched off: the relay does not notice if Redis stops delivering", "set SIDECAST_MARKERS=auto")
	} else {
		c.checkMarkers(ctx)
	}
	c.checkDelivery(ctx)
	return c.findings
}

// check is one run of [Check].
type check struct {
	cfg      Config
	client   redis.UniversalClient // for all nodes
	node     redis.UniversalClient // for the node that a link would listen to
	addr     string                // of that node
	sent     certificates          // of the servers
	now      time.Time             // by the clock of Redis, or by this machine's if Redis does not tell
	findings []Finding
}

func (c *check) add(level Level, subject, text, do string) {
	c.findings = append(c.findings, Finding{level, subject, text, do})
}

func (c *check) ok(subject, text string)       { c.add(LevelOK, subject, text, "") }
func (c *check) warn(subject, text, do string) { c.add(LevelWarn, subject, text, do) }
func (c *check) fail(subject, text, do string) { c.add(LevelFail, subject, text, do) }

// failure adds an error that is not an answer to the question.
func (c *check) failure(subject string, err error) {
	problem, do := explain(err)
	c.fail(subject, fmt.Sprintf("%s (%s)", problem, c.cfg.Server.Redact(err)), do)
}

// findNode finds the node that a link would listen to, and reports whether that
// succeeded.
func (c *check) findNode(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*checkStep)
	defer cancel()
	switch c.cfg.Server.Mode {
	case Sentinel:
		master, _, err := c.cfg.Server.master(ctx)
		if err != nil {
			c.failure("sentinel", err)
			return false
		}
		c.addr = master.addr
		c.ok("sentinel", c.cfg.Server.MasterName+" is at "+c.addr)
	case Cluster:
		cluster, ok := c.client.(router)
		if !ok {
			c.failure("cluster", errNoRouter)
			return false
		}
		node, err := cluster.MasterForKey(ctx, c.cfg.Names.Marker())
		if err != nil {
			c.failure("cluster", err)
			return false
		}
		c.addr, c.node = node.Options().Addr, node
		c.ok("cluster", "the marker channel is at "+c.addr)
	}
	return true
}

// logIn logs in and reports whether that succeeded.
func (c *check) logIn(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*checkStep)
	defer cancel()
	err := c.node.Ping(ctx).Err()
	if c.cfg.Server.Mode == Cluster {
		err = c.cfg.Server.announcer(ctx, c.addr, err)
	}
	switch {
	case err == nil:
		c.ok("server", c.addr+" answers")
	case isDenied(replyOf(err)):
		c.warn("server", c.addr+" answers, but refuses PING", "grant +ping")
	case isWritesRefused(err):
		problem, do := explain(err)
		c.warn("server", c.addr+" answers, but "+problem+"; live channels work all the same", do)
	default:
		c.failure("server", err)
		return false
	}
	return true
}

func (c *check) checkRole(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	switch err := readRole(ctx, c.node); {
	case err == nil:
		c.ok("role", "master")
	case errors.Is(err, errRoleUnsupported):
		c.warn("role", "the server does not report its role, so the relay would not notice a replica",
			advise(err, "grant +role"))
	default:
		c.failure("role", err)
	}
}

// checkBus checks whether the node reports losses between the nodes.
func (c *check) checkBus(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	switch bus, unlinked, err := readBus(ctx, c.node); {
	case err == nil && unlinked > 0:
		c.warn("bus", fmt.Sprintf("%d nodes have no link to this one: messages published there do not arrive", unlinked),
			"check that they are running, and that each node reaches the bus ports of all others")
	case err == nil:
		c.ok("bus", fmt.Sprintf("links from %d nodes", len(bus)))
	case errors.Is(err, errBusUnsupported):
		c.warn("bus", "the server does not report its links, so the relay would not notice messages lost between nodes",
			advise(err, grantBus))
	default:
		c.failure("bus", err)
	}
}

// masters is go-redis's client for a cluster. It calls the function concurrently.
type masters interface {
	ForEachMaster(ctx context.Context, do func(context.Context, *redis.Client) error) error
}

// checkMasters checks whether all masters of a cluster can be reached: messages
// of clients, and streams, go to the master of their slot.
func (c *check) checkMasters(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*checkStep)
	defer cancel()
	cluster, ok := c.client.(masters)
	if !ok {
		return
	}
	var mu sync.Mutex
	_ = cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		addr := master.Options().Addr
		if err := master.Ping(ctx).Err(); err != nil && replyOf(err) == "" {
			err = c.cfg.Server.announcer(ctx, addr, err)
			mu.Lock()
			defer mu.Unlock()
			c.failure("master "+addr, err)
		}
		return nil
	})
}
