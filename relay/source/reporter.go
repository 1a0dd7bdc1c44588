package source

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

// repeatAfter is how long the same problem is not logged again as an error.
const repeatAfter = time.Minute

// An errorReporter logs what keeps the link down, and what Redis does not
// support or permit.
type errorReporter struct {
	link *Link // constant

	// Owned by the link's goroutine.
	problem  string // the last one logged; empty after the link was connected
	loggedAt time.Time

	servicesDenied map[string]bool // channels about which it was logged

	// Warnings that are logged once. Any goroutine may use them.
	role, node, bus, ping, pingFails, markerSubscribe, markerPublish, foreign sync.Once
	clientPublish, clientAppend, clientAsking                                 sync.Once

	// Guarded by mu.
	mu         sync.Mutex
	reportedAt map[string]time.Time // when conditions that prevent publishing were last logged, by code
}

// connected forgets the last problem. Called on the link's goroutine, like
// connectFailed.
func (r *errorReporter) connected() { r.problem, r.loggedAt = "", time.Time{} }

// connectFailed logs why an attempt to connect failed and what to do about it:
// when a problem begins or changes, and then once a minute.
func (r *errorReporter) connectFailed(err error) {
	l := r.link
	problem, do := explain(err)
	if problem == r.problem && time.Since(r.loggedAt) < repeatAfter {
		l.log.Debug("redis still cannot be used", "addr", l.cfg.Server.Address,
			"err", r.shown(err))
		return
	}
	if problem != r.problem {
		switch {
		case errors.Is(err, errReplica), errors.Is(err, errSentinelRole):
			l.stats.RedisEpochs[stats.CauseReplica].Add(1)
		case causeOf(err) == stats.CauseDenied:
			l.stats.RedisEpochs[stats.CauseDenied].Add(1)
		}
	}
	r.problem, r.loggedAt = problem, time.Now()
	if denied, ok := errors.AsType[*deniedError](err); ok {
		do = r.findDenied(denied, do)
	}
	l.log.Error("redis cannot be used", "addr", l.cfg.Server.Address, "problem", problem, "do", do,
		"err", r.shown(err))
}

// findDenied tries each pattern to find the one that is denied, because Redis
// may answer for all at once without a name. It returns what to do, or
// otherwise if it finds none.
func (r *errorReporter) findDenied(denied *deniedError, otherwise string) string {
	if strings.Contains(denied.reply, "command") {
		return "grant the command: ACL SETUSER <user> +psubscribe +subscribe"
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	for _, pattern := range r.link.redisPatterns {
		if err := trySubscribe(ctx, r.link.commands, "psubscribe", pattern); err != nil && isDenied(err.Error()) {
			return grantPattern(pattern)
		}
	}
	return otherwise
}

// shown returns the text of an error without secrets, for the log.
func (r *errorReporter) shown(err error) string { return r.link.cfg.Server.Redact(err) }

// warn logs a warning and what to do about it.
func (r *errorReporter) warn(message, do string, args ...any) {
	r.link.log.Warn(message, append([]any{"do", do}, args...)...)
}

// warnOnce is [errorReporter.warn] if once was not used before.
func (r *errorReporter) warnOnce(once *sync.Once, message, do string, args ...any) {
	once.Do(func() { r.warn(message, do, args...) })
}

// unsupported logs once that the server did not answer a question.
func (r *errorReporter) unsupported(once *sync.Once, message string, err error, grant string) {
	var args []any
	if reply := replyOf(err); reply != "" {
		args = []any{"err", r.shown(&replyError{reply})}
	}
	r.warnOnce(once, message, advise(err, grant), args...)
}

func (r *errorReporter) roleUnsupported(err error) {
	if !r.link.cfg.Embedded {
		r.unsupported(&r.role, "redis does not report its role, so the relay would not notice a replica",
			err, "grant +role")
	}
}

func (r *errorReporter) nodeUnsupported(err error) {
	if !r.link.cfg.Embedded && !r.link.cfg.MarkersOff {
		r.unsupported(&r.node, "redis does not report its run_id, so clients cannot resume at another replica of the relay",
			err, "grant +info")
	}
}

func (r *errorReporter) busUnsupported(err error) {
	r.unsupported(&r.bus,
		"redis does not report its cluster's bus links, so the relay would not notice messages lost between nodes",
		err, grantBus)
}

// markerSlotMoved is called once in an epoch.
func (r *errorReporter) markerSlotMoved(addr, owner string) {
	r.warn("the marker channel's slot moved to another node, where relays that connect from now on listen; "+
		"clients that change between this relay and those get a gap",
		"restart this relay at a convenient time", "addr", addr, "owner", owner)
}

// stillMaster is called when the watch of a deposed master ends.
func (r *errorReporter) stillMaster(addr string) {
	r.warn("the master before the failover still accepts messages, which reach no client",
		"make it a replica of the new master, or stop it", "addr", addr)
}

// nodesUnlinked is called at the beginning of an epoch.
func (r *errorReporter) nodesUnlinked(nodes int) {
	r.warn("some cluster nodes have no bus link to the node that the relay listens to; "+
		"messages published there do not arrive until they have",
		"check that these nodes are running, and that each node reaches the bus ports of all others", "nodes", nodes)
}

func (r *errorReporter) pingRefused(reply string) {
	once := &r.ping
	if !isDenied(reply) {
		once = &r.pingFails
	}
	r.warnOnce(once, "redis refuses PING; the relay accepts the refusals as answers",
		advise(&replyError{reply}, "grant +ping"), "err", r.shown(&replyError{reply}))
}

func (r *errorReporter) markerSubscriptionDenied(reply string) {
	r.warnOnce(&r.markerSubscribe,
		"redis refuses the subscription to the marker channel, so the relay cannot probe delivery",
		"grant +subscribe and &"+r.link.markerChannel, "err", r.shown(&replyError{reply}))
}

// serviceDenied is called on the link's goroutine.
func (r *errorReporter) serviceDenied(channel, reply string) {
	if !r.servicesDenied[channel] {
		if r.servicesDenied == nil {
			r.servicesDenied = make(map[string]bool)
		}
		r.servicesDenied[channel] = true
		r.warn("redis refuses the subscription to a channel of the relay's own, so what it is for does not work",
			"grant +subscribe and &"+channel, "channel", channel, "err", r.shown(&replyError{reply}))
	}
}

func (r *errorReporter) markerPublishDenied(err error) {
	r.warnOnce(&r.markerPublish, "redis refuses to publish markers, so the relay cannot probe delivery",
		"grant +publish and &"+r.link.markerChannel, "err", r.shown(err))
}

// markerPublishFailing is called periodically while markers cannot be published
// in an epoch.
func (r *errorReporter) markerPublishFailing(err error) {
	do := "check that Redis accepts more connections"
	if replyOf(err) != "" {
		_, do = explain(err)
	}
	r.warn("publishing markers fails although redis is connected, so the relay cannot probe delivery",
		do, "err", r.shown(err))
}

const clientMessagesRefused = "redis refuses messages that clients publish"

// clientPublishFailed is called for each message of a client that could not be
// published.
func (r *errorReporter) clientPublishFailed(err error) {
	if isDenied(replyOf(err)) {
		r.warnOnce(&r.clientPublish, clientMessagesRefused,
			"grant +publish and the channels of SIDECAST_PUBLISH_CHANNELS", "err", r.shown(err))
	}
	r.conditionPreventsPublishing(err)
}

// clientAppendFailed is called for each message of a client that could not be
// added to the stream of a durable channel.
func (r *errorReporter) clientAppendFailed(err error) {
	switch {
	case isAskingDenied(err):
		r.warnOnce(&r.clientAsking, clientMessagesRefused, grantAsking, "err", r.shown(err))
	case isDenied(replyOf(err)):
		r.warnOnce(&r.clientAppend, clientMessagesRefused,
			"grant +xadd and %RW~ for the streams of SIDECAST_PUBLISH_CHANNELS", "err", r.shown(err))
	}
	r.conditionPreventsPublishing(err)
}

// conditionPreventsPublishing logs the condition of the server that err
// reports, if any, at most once a minute.
func (r *errorReporter) conditionPreventsPublishing(err error) {
	c, ok := conditionOf(replyOf(err))
	if !ok {
		return
	}
	r.mu.Lock()
	last, seen := r.reportedAt[c.code]
	due := !seen || time.Since(last) >= repeatAfter
	if due {
		if r.reportedAt == nil {
			r.reportedAt = make(map[string]time.Time)
		}
		r.reportedAt[c.code] = time.Now()
	}
	r.mu.Unlock()
	if due {
		r.warn(clientMessagesRefused, c.do, "problem", c.problem, "err", r.shown(&replyError{replyOf(err)}))
	}
}

func (r *errorReporter) foreignRelay() {
	r.warnOnce(&r.foreign, "another relay with different patterns or prefixes uses the same key prefix",
		"give each application its own SIDECAST_KEY_PREFIX, and all replicas of one application the same settings")
}

// streamsDenied is called at the start for each pattern of durable channels
// that the relay may not read.
func (r *errorReporter) streamsDenied(pattern access.Pattern, err error) {
	cfg := &r.link.cfg
	r.warn("redis does not let the relay read streams, so these durable channels do not work",
		adviseStreams(err, grantStreams(cfg.Names.RedisPattern(pattern))), "pattern", pattern.String(), "err", r.shown(err))
}
