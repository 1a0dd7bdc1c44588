package source

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// deniedError reports that Redis refused a subscription because a right is
// missing. It does not wrap go-redis's error, because go-redis would keep the
// connection then.
type deniedError struct{ reply string }

func (e *deniedError) Error() string { return e.reply }

// replyError is any other error reply to a subscription.
type replyError struct{ reply string }

func (e *replyError) Error() string { return e.reply }

// errBypassed reports that go-redis received a message that the connection
// should have handled. The link ends, so that clients get a gap.
func errBypassed(channel string) error {
	return fmt.Errorf("go-redis received a message itself, on %q", channel)
}

// isDenied reports whether an error reply means that the user lacks a right.
func isDenied(reply string) bool { return strings.HasPrefix(reply, "NOPERM") }

// isAskingDenied reports whether the user lacks the right to ASKING.
func isAskingDenied(err error) bool {
	reply := replyOf(err)
	return isDenied(reply) && strings.Contains(reply, "'asking'")
}

// isUnauthenticated reports whether an error reply means that the login is
// missing or failed.
func isUnauthenticated(reply string) bool {
	return strings.HasPrefix(reply, "NOAUTH") || strings.HasPrefix(reply, "WRONGPASS") ||
		strings.Contains(reply, "invalid password") || strings.Contains(reply, "AUTH failed")
}

// isTransient reports whether an error reply means that the server cannot serve
// any client at the moment, or cannot execute any client's writes.
func isTransient(reply string) bool {
	_, ok := conditionOf(reply)
	return ok || strings.HasPrefix(reply, "ERR max number of clients")
}

// isRefusal reports whether the server answered that it does not run this
// command for this user. A server that requires a login first, or that cannot
// serve any client, has not refused the command.
func isRefusal(err error) bool {
	reply, ok := errors.AsType[redis.Error](err)
	return ok && !isUnauthenticated(reply.Error()) && !isTransient(reply.Error())
}

// replyOf returns the error reply in err, or an empty string.
func replyOf(err error) string {
	if denied, ok := errors.AsType[*deniedError](err); ok {
		return denied.reply
	}
	if other, ok := errors.AsType[*replyError](err); ok {
		return other.reply
	}
	if reply, ok := errors.AsType[redis.Error](err); ok {
		return reply.Error()
	}
	return ""
}
