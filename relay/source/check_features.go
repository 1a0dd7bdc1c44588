package source

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Features are what uses Redis besides the link. Only [Check] needs to know.
type Features struct {
	Presence   bool // channels have members
	Events     bool // events are written
	Webhooks   bool // and posted to the application
	Unheard    bool // messages without a listener are reported
	Appends    bool // the application publishes to durable channels over HTTP
	Terminates bool // the application ends users' connections over HTTP
	Counts     bool // subscriptions are counted over all relays
}

// A trial is a command that changes nothing, because its arguments are wrong or
// its key does not exist. Redis checks the rights first.
type trial struct {
	command string   // as in a right
	key     string   // the pattern of its key, or nothing; its last part, if it is *, is replaced by an unused name
	args    []string // the command, in which KEY stands for the key
}

// trials returns trials of a key, each given as the name of a right and the
// arguments after the command.
func trials(key string, commands ...string) (list []trial) {
	for _, text := range commands {
		args := strings.Fields(text)
		list = append(list, trial{command: args[0], key: key, args: append(strings.Split(args[0], "|"), args[1:]...)})
	}
	return list
}

var noScript = strings.Repeat("0", 40)

func (c *check) checkFeatures(ctx context.Context) {
	names, uses := c.cfg.Names, c.cfg.Features
	events := names.Public("events")
	scripts := []string{"eval 0 1 KEY", "evalsha " + noScript + " 1 KEY", "get KEY", "hdel KEY f", "hget KEY f", "hmget KEY f",
		"hset KEY f v f", "set KEY v NX XX"}
	if uses.Presence {
		c.checkChannel(ctx, names.Internal("presence"), "clients are not told who is present")
		list := trials(names.Public("presence:*"), append(scripts, "incrby KEY x", "zadd KEY x m", "zcard KEY", "zrange KEY 0 0",
			"zrangebyscore KEY x x", "zrem KEY m", "zremrangebyscore KEY x x", "zscore KEY m")...)
		list = append(list, trials("", "time")...)
		for _, key := range []string{"presence-*", "holders:*", "info:*"} {
			list = append(list, trials(names.Internal(key), "get KEY", "zcard KEY")...)
		}
		c.checkTrials(ctx, "presence", "nobody is a member of a channel", list)
	}
	if uses.Unheard {
		list := trials(names.Internal("listeners:*"), append(scripts, "exists KEY", "hgetall KEY", "hlen KEY", "hvals KEY", "pexpire KEY x")...)
		list = append(list, trials("", "time")...)
		for _, key := range []string{names.Internal("judged:*"), names.Internal("unheard:*")} {
			list = append(list, trials(key, "get KEY", "exists KEY")...)
		}
		list = append(list, trials(events, "xadd KEY x f v")...)
		c.checkTrials(ctx, "unheard messages", "messages without a listener are not reported", list)
	}
	if uses.Counts {
		c.checkChannel(ctx, names.Internal("counts"), "clients learn later that the number of subscriptions has changed")
		list := trials(names.Internal("counts:*"), "hdel KEY f", "hmget KEY f", "hscan KEY x", "hset KEY f v f", "pexpire KEY x")
		list = append(list, trials(names.Internal("counts"), "zadd KEY x m", "zrange KEY 0 0", "zrem KEY m")...)
		c.checkTrials(ctx, "subscription counts", "clients and the application do not learn how many subscriptions a channel has", list)
	}
	if uses.Events {
		c.checkTrials(ctx, "events", "they are not written", trials(events, "xadd KEY x f v"))
	}
	if uses.Terminates {
		c.checkTrials(ctx, "ending connections", "the application cannot end connections over HTTP",
			trials(names.Public("revoked"), "zadd KEY x m"))
	}
	if uses.Webhooks {
		const group = "sidecast:check"
		c.checkTrials(ctx, "webhooks", "the application receives none", trials(events, "xack KEY "+group+" 0-0",
			"xautoclaim KEY "+group+" c x 0", "xclaim KEY "+group+" c x 0-0", "xgroup|create KEY "+group+" x", "xrange KEY x x",
			"xreadgroup GROUP "+group+" c STREAMS KEY x"))
	}
}

// checkChannel reports whether Redis lets the relay subscribe to a channel of
// its own, if it does not.
func (c *check) checkChannel(ctx context.Context, channel, otherwise string) {
	if err := c.subscribe(ctx, "subscribe", channel); err != nil && isDenied(err.Error()) {
		c.warn("channel "+channel, subscriptionRefused+": "+otherwise, "grant +subscribe and &"+channel)
	}
}

// checkTrials checks the rights that trials need.
func (c *check) checkTrials(ctx context.Context, subject, otherwise string, list []trial) {
	missing, err := c.denied(ctx, list)
	switch {
	case err != nil:
		c.failure(subject, err)
	case len(missing) > 0:
		c.warn(subject, "Redis refuses what it needs: "+otherwise, "grant "+strings.Join(missing, " "))
	default:
		c.ok(subject, "the relay has the rights that it needs")
	}
}

// denied returns the rights that are missing: first the keys, then the commands.
func (c *check) denied(ctx context.Context, list []trial) (missing []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*checkStep)
	defer cancel()
	var commands []string
	allowed := make(map[string]bool) // keys
	unused := fmt.Sprintf("sidecast-check-%016x", rand.Uint64())
	for _, p := range list {
		args := make([]any, len(p.args))
		for i, arg := range p.args {
			if args[i] = arg; arg == "KEY" {
				args[i] = strings.Replace(p.key, "*", unused, 1)
			}
		}
		err := c.client.Do(ctx, args...).Err()
		reply := replyOf(err)
		switch {
		case err != nil && reply == "" && !errors.Is(err, redis.Nil):
			return nil, err
		case !isDenied(reply):
			allowed[p.key] = true
		case strings.Contains(reply, "to run the"):
			commands = append(commands, "+"+p.command)
		}
	}
	for _, p := range list {
		if key := "~" + p.key; p.key != "" && !allowed[p.key] && !slices.Contains(missing, key) {
			missing = append(missing, key)
		}
	}
	slices.Sort(commands)
	return append(missing, slices.Compact(commands)...), nil
}
