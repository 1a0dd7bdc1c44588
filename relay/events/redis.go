package events

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Redis calls f with a client while the link to Redis is up, and with a
// timeout. If the link is down, it returns an error without a call. It returns
// the error of f.
type Redis func(ctx context.Context, f func(context.Context, redis.UniversalClient) error) error

// Late returns a Redis for a link that does not exist yet.
func Late(link func() Redis) Redis {
	return func(ctx context.Context, f func(context.Context, redis.UniversalClient) error) error {
		return link()(ctx, f)
	}
}

// try calls f, and reports whether Redis was there to run it: if not, nothing
// has happened.
func (do Redis) try(ctx context.Context, f func(context.Context, redis.UniversalClient) error) (ran bool, err error) {
	var cause error
	err = do(ctx, func(ctx context.Context, client redis.UniversalClient) error {
		ran = true
		cause = f(ctx, client)
		return cause
	})
	if err != nil && cause != nil {
		err = &failure{shown: err, cause: cause}
	}
	return ran, err
}

// A failure is an error of Redis in two forms.
type failure struct {
	shown error // for the log
	cause error // the answer or the error of the network
}

func (f *failure) Error() string { return f.shown.Error() }
func (f *failure) Unwrap() error { return f.cause }

// isReply reports whether an error is an answer of Redis that begins with the
// word: an error of the network is not.
func isReply(err error, word string) bool {
	reply, ok := errors.AsType[redis.Error](err)
	return ok && strings.HasPrefix(reply.Error(), word)
}

// passing are answers that mean that Redis cannot do this now. Redis 6.2 repeats
// them in an ERR if a script was stopped by them.
var passing = []string{
	"LOADING ", "READONLY ", "MASTERDOWN ", "NOREPLICAS ", "CLUSTERDOWN ", "TRYAGAIN ", "BUSY ", "MISCONF ", "OOM ",
	"ERR max number of clients",
}

// isRefusal reports whether Redis answered that it does not do this, now or
// later. Other answers, such as LOADING, only mean that it cannot do it now.
func isRefusal(err error) bool {
	return !isPassing(err) && slices.ContainsFunc([]string{"ERR", "NOPERM", "WRONGTYPE", "NOGROUP", "CROSSSLOT"}, func(word string) bool { return isReply(err, word) })
}

// isPassing reports whether Redis answered that it cannot do this now.
func isPassing(err error) bool {
	reply, ok := errors.AsType[redis.Error](err)
	return ok && slices.ContainsFunc(passing, func(words string) bool {
		return strings.HasPrefix(reply.Error(), words) || isReply(err, "ERR") && strings.Contains(reply.Error(), ": -"+words)
	})
}

// notSent reports whether a command did not reach Redis, or changed nothing
// there.
func notSent(err error) bool {
	network, ok := errors.AsType[*net.OpError](err)
	return isPassing(err) || ok && network.Op == "dial"
}

// advice returns advice to the operator about an answer of Redis.
func advice(err error, grant string) string {
	switch {
	case strings.Contains(err.Error(), "NOPERM"), strings.Contains(err.Error(), "The user executing the script can't"):
		return grant
	case isReply(err, "CROSSSLOT"):
		return "set SIDECAST_KEY_PREFIX={sidecast}: for all relays, so that a cluster keeps their keys together"
	case isReply(err, "WRONGTYPE"):
		return "delete the key, which is not a stream"
	case strings.Contains(err.Error(), "OOM "):
		return "give Redis more memory (maxmemory)"
	}
	return "see the error"
}
