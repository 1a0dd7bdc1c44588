package events

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Redis calls f with a client while the link to Redis is up, and with a
// timeout. If the link is down, it returns an error without a call. It returns
// the error of f.
type Redis func(ctx context.Context, f func(context.Context, redis.UniversalClient) error) error

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

// advice returns advice to the operator about an answer of Redis.
func advice(err error, grant string) string {
	switch {
	case isReply(err, "NOPERM"):
		return grant
	case isReply(err, "WRONGTYPE"):
		return "delete the key, which is not a stream"
	case isReply(err, "OOM"):
		return "give Redis more memory (maxmemory)"
	}
	return "see the error"
}
