package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Level says how bad a [Finding] is.
type Level int

// The levels.
const (
	LevelOK   Level = iota
	LevelWarn       // the relay works, without something
	LevelFail       // the relay does not work, or loses messages
)

var levelNames = [...]string{"ok", "warn", "fail"}

// String returns ok, warn or fail.
func (l Level) String() string { return levelNames[l] }

// A Finding is one thing that [Check] looked at.
type Finding struct {
	Level   Level
	Subject string // what was looked at, such as `role` or `pattern chat:*`
	Text    string // what was found
	Do      string // what to do about it; empty with LevelOK
}

// Times of a check.
const (
	checkStep   = 3 * time.Second         // each question
	checkListen = markerOwn + time.Second // other relays say something within this time
	oldest      = 602                     // the oldest Redis that the relay is tested with: 6.2
)

// Check asks the server of cfg everything that a link needs from it, and looks for other relays on it, which takes up to
// some seconds more if there are any. It changes nothing; of messages it publishes one, an empty one on the service
// channel, which relays ignore. It stops early where the server cannot be reached. cfg needs no Logger and no Stats.
func Check(ctx context.Context, cfg Config) []Finding {
	quiet()
	if cfg.Connect == nil {
		cfg.Connect = redis.NewUniversalClient
	}
	if err := cfg.Server.validate(); err != nil {
		return []Finding{{LevelFail, "server", err.Error(), "set SIDECAST_REDIS_URL"}}
	}
	client := cfg.Connect(cfg.Server.options())
	defer client.Close()
	c := &check{cfg: cfg, client: client, node: client, addr: cfg.Server.Address}
	if !c.find(ctx) || !c.reach(ctx) {
		return c.findings
	}
	c.version(ctx)
	c.role(ctx)
	if cfg.Server.Mode == Cluster {
		c.bus(ctx)
	}
	for _, pattern := range subscriptions(cfg.Names, cfg.Patterns) {
		c.pattern(ctx, pattern)
	}
	for _, pattern := range cfg.Durable {
		c.stream(ctx, pattern)
	}
	if cfg.MarkersOff {
		c.warn("markers", "switched off: a link that delivers nothing is not noticed", "set SIDECAST_MARKERS=auto")
	} else {
		c.markers(ctx)
	}
	return c.findings
}

// check is one run of [Check].
type check struct {
	cfg      Config
	client   redis.UniversalClient // for all nodes
	node     redis.UniversalClient // for the one that a link would listen to
	addr     string                // of that node
	findings []Finding
}

func (c *check) add(level Level, subject, text, do string) {
	c.findings = append(c.findings, Finding{level, subject, text, do})
}

func (c *check) ok(subject, text string)       { c.add(LevelOK, subject, text, "") }
func (c *check) warn(subject, text, do string) { c.add(LevelWarn, subject, text, do) }
func (c *check) fail(subject, text, do string) { c.add(LevelFail, subject, text, do) }

// broken notes an error that is no answer to the question.
func (c *check) broken(subject string, err error) {
	problem, do := explain(err)
	c.fail(subject, fmt.Sprintf("%s (%s)", problem, c.cfg.Server.redact(err)), do)
}

// find finds the node that a link would listen to, and reports whether that worked.
func (c *check) find(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*checkStep)
	defer cancel()
	switch c.cfg.Server.Mode {
	case Sentinel:
		addr, _, err := c.cfg.Server.master(ctx)
		if err != nil {
			c.broken("sentinel", err)
			return false
		}
		c.addr = addr
		c.ok("sentinel", c.cfg.Server.MasterName+" is at "+addr)
	case Cluster:
		cluster, ok := c.client.(router)
		if !ok {
			c.broken("cluster", errNoRouter)
			return false
		}
		node, err := cluster.MasterForKey(ctx, c.cfg.Names.Marker())
		if err != nil {
			c.broken("cluster", err)
			return false
		}
		c.addr, c.node = node.Options().Addr, node
		c.ok("cluster", "the marker channel is at "+c.addr)
	}
	return true
}

// bus looks whether the node tells of losses between the nodes.
func (c *check) bus(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	switch bus, unlinked, err := askBus(ctx, c.node); {
	case err == nil && unlinked > 0:
		c.warn("bus", fmt.Sprintf("%d nodes have no link to this one: what is published there is not heard", unlinked),
			"check that they live, and that each reaches the bus ports of all others")
	case err == nil:
		c.ok("bus", fmt.Sprintf("links from %d nodes", len(bus)))
	case errors.Is(err, errUnknownBus):
		c.warn("bus", "the server does not tell of it, so messages lost between the nodes would not be noticed",
			"grant +cluster|links; it needs Redis 7.0")
	default:
		c.broken("bus", err)
	}
}

// reach logs in and reports whether that worked.
func (c *check) reach(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*checkStep)
	defer cancel()
	err := c.node.Ping(ctx).Err()
	switch {
	case err == nil:
		c.ok("server", c.addr+" answers")
	case isRefusal(err) && isDenied(err.Error()):
		c.warn("server", c.addr+" answers, but refuses PING", "grant +ping")
	default:
		c.broken("server", err)
		return false
	}
	return true
}

func (c *check) version(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	info, err := c.node.Info(ctx, "server").Result()
	if err != nil && !isRefusal(err) {
		c.broken("version", err)
		return
	}
	product, version := readVersion(info)
	switch number, known := versionNumber(version); {
	case runID(info) == "" && !c.cfg.MarkersOff:
		c.warn("version", "the server does not tell which one it is, so clients cannot resume at another replica",
			"grant +info")
	case !known:
		c.ok("version", "the server does not tell")
	case number < oldest:
		c.warn("version", product+" "+version, "use Redis 6.2 or newer, or Valkey: older ones are not tested")
	default:
		c.ok("version", product+" "+version)
	}
}

// readVersion finds the product and its version in the answer to INFO. Valkey gives a Redis version too.
func readVersion(info string) (product, version string) {
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "valkey_version":
			return "Valkey", value
		case "redis_version":
			product, version = "Redis", value
		}
	}
	return product, version
}

// versionNumber makes 602 of 6.2.14.
func versionNumber(version string) (number int, ok bool) {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return 0, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return 100*major + minor, err1 == nil && err2 == nil
}

func (c *check) role(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	switch err := askRole(ctx, c.node); {
	case err == nil:
		c.ok("role", "master")
	case errors.Is(err, errUnknownRole):
		c.warn("role", "the server does not tell its role, so a replica would not be noticed", "grant +role")
	default:
		c.broken("role", err)
	}
}

func (c *check) pattern(ctx context.Context, pattern string) {
	subject := "pattern " + pattern
	switch err := c.try(ctx, "psubscribe", pattern); {
	case err == nil:
		c.ok(subject, "may be subscribed to")
	case !isDenied(err.Error()):
		c.broken(subject, err)
	case strings.Contains(err.Error(), "command"):
		c.fail(subject, "refused", "grant the command: ACL SETUSER <user> +psubscribe")
	default:
		c.fail(subject, "refused", grantPattern(pattern))
	}
}

func (c *check) try(ctx context.Context, command, name string) error {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	return trySubscribe(ctx, c.node, command, name)
}

func (c *check) markers(ctx context.Context) {
	channel := c.cfg.Names.Marker()
	// Asked first: Redis takes a moment to forget a subscription of our own.
	listeners, unpublished := c.publish(ctx, channel)
	alone := listeners == 0
	if unpublished != nil {
		alone = c.alone(ctx, channel)
	}
	err := c.try(ctx, "subscribe", channel)
	switch {
	case err == nil:
		c.ok("hearing markers", "allowed")
	case isDenied(err.Error()):
		c.warn("hearing markers", "refused: a link that delivers nothing is not noticed", "grant +subscribe and &"+channel)
		return
	default:
		c.broken("hearing markers", err)
		return
	}
	switch err = unpublished; {
	case err == nil:
		c.ok("publishing markers", "allowed")
	case isDenied(err.Error()):
		c.warn("publishing markers", "refused: a link that delivers nothing is not noticed", "grant +publish and &"+channel)
	default:
		c.broken("publishing markers", err)
		return
	}
	if alone {
		c.ok("other relays", "none with this key prefix")
		return
	}
	c.relays(ctx, channel)
}

// publish publishes an empty marker, of which relays take no notice, and returns how many heard it.
func (c *check) publish(ctx context.Context, channel string) (listeners int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	return c.node.Publish(ctx, channel, "").Result()
}

// alone reports whether Redis says that nobody subscribes to the service channel.
func (c *check) alone(ctx context.Context, channel string) bool {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	listeners, err := c.node.PubSubNumSub(ctx, channel).Result()
	return err == nil && listeners[channel] == 0
}

// relays listens for other relays.
func (c *check) relays(ctx context.Context, channel string) {
	limited, cancel := context.WithTimeout(ctx, checkListen)
	defer cancel()
	same, foreign := c.listen(limited, channel)
	if foreign > 0 {
		c.warn("other relays", fmt.Sprintf("%d with other patterns or prefixes and the same key prefix", foreign),
			"give each application its own SIDECAST_KEY_PREFIX, and all replicas of one the same settings")
	}
	if foreign == 0 || same > 0 {
		c.ok("other relays", fmt.Sprintf("%d with the same settings", same))
	}
}

// listen counts the relays that publish markers until ctx ends.
func (c *check) listen(ctx context.Context, channel string) (same, foreign int) {
	ours := settingsHash(c.cfg.Names, c.cfg.Patterns, c.cfg.Durable...)
	sub := c.node.Subscribe(ctx, channel)
	defer sub.Close()
	seen := make(map[[8]byte]bool)
	for {
		reply, err := sub.Receive(ctx) // the conn is given up at the deadline
		if err != nil {
			return same, foreign
		}
		message, _ := reply.(*redis.Message)
		if message == nil {
			continue
		}
		m, ok := parseMarker([]byte(message.Payload))
		switch {
		case !ok || seen[m.run]:
		case m.settings == ours:
			same++
		default:
			foreign++
		}
		seen[m.run] = seen[m.run] || ok
	}
}

// trySubscribe subscribes to one name on a conn of its own and returns Redis's refusal. command is subscribe or
// psubscribe; ctx must carry a deadline, at which the conn is given up.
func trySubscribe(ctx context.Context, client redis.UniversalClient, command, name string) error {
	sub := client.Subscribe(ctx)
	defer sub.Close()
	subscribe := sub.Subscribe
	if command == "psubscribe" {
		subscribe = sub.PSubscribe
	}
	if err := subscribe(ctx, name); err != nil {
		return err
	}
	_, err := sub.Receive(ctx)
	return err
}
