package presence

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var lua embed.FS

// script returns the script that consists of these files.
func script(files ...string) *redis.Script {
	var source strings.Builder
	for _, name := range files {
		text, err := lua.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // the file is not in the binary
		}
		source.Write(text)
	}
	return redis.NewScript(source.String())
}

// The scripts. Each can be repeated: a relay that has received no answer runs it
// again.
var (
	beginScript   = script("common", "begin")
	joinScript    = script("common", "channel", "join")
	leaveScript   = script("common", "channel", "leave")
	refreshScript = script("common", "refresh")
	dueScript     = script("common", "due")
	lookScript    = script("common", "look")
	reapScript    = script("common", "channel", "reap")
	loadScript    = script("load")
)

// A call is one run of a script.
type call struct {
	script *redis.Script
	keys   []string
	args   []any
	reply  []any
	failed bool // Redis answered with an error
}

// maxAtOnce and maxArgsAtOnce bound the calls that are sent at once: Redis runs
// them without serving other clients in between.
const (
	maxAtOnce     = 32
	maxArgsAtOnce = 4 * maxBatch
)

// run runs calls in order, and sets their replies. If Redis answers some with an
// error, it runs the others all the same, and returns the first error.
func run(ctx context.Context, client redis.UniversalClient, calls []*call) (err error) {
	for len(calls) > 0 {
		n, args := 1, len(calls[0].args)
		for n < min(maxAtOnce, len(calls)) && args+len(calls[n].args) <= maxArgsAtOnce {
			args += len(calls[n].args)
			n++
		}
		failure := runAtOnce(ctx, client, calls[:n])
		if err = cmp.Or(err, failure); !allAnswered(calls[:n]) {
			return failure
		}
		calls = calls[n:]
	}
	return err
}

// allAnswered reports whether Redis has answered all calls, if only with errors.
func allAnswered(calls []*call) bool {
	return !slices.ContainsFunc(calls, func(c *call) bool { return c.reply == nil && !c.failed })
}

// runAtOnce sends the hashes of the scripts, and the scripts that Redis does not
// have again with their text.
func runAtOnce(ctx context.Context, client redis.UniversalClient, calls []*call) (first error) {
	commands := make([]*redis.Cmd, len(calls))
	_, _ = client.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its error
		for i, c := range calls {
			commands[i] = p.EvalSha(ctx, c.script.Hash(), c.keys, c.args...)
		}
		return nil
	})
	for i, c := range calls {
		reply, err := commands[i].Slice()
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			reply, err = c.script.Eval(ctx, client, c.keys, c.args...).Slice()
		}
		if err == nil {
			c.reply = reply
			continue
		}
		_, c.failed = errors.AsType[redis.Error](err)
		first = cmp.Or(first, fmt.Errorf("running a script: %w", err))
	}
	return first
}

// Errors that scripts report in their replies.
var (
	errGeneration = errors.New("redis has lost its data")
	errLapsed     = errors.New("the relay's lease has ended")
	errFailed     = errors.New("redis answered with an error")
)

// result returns the values after the status and the refusal in a reply, and the
// refusal: an error about something that the members do not depend on.
func (c *call) result() (values []any, refusal string, err error) {
	if c.failed {
		return nil, "", errFailed
	}
	if len(c.reply) == 0 {
		return nil, "", errors.New("a script returned nothing")
	}
	switch c.reply[0] {
	case "generation":
		return nil, "", errGeneration
	case "lapsed":
		return nil, "", errLapsed
	}
	if len(c.reply) < 2 {
		return nil, "", errors.New("a script returned too little")
	}
	return c.reply[2:], text(c.reply[1]), nil
}

// text returns a value of a reply as text.
func text(value any) string {
	s, _ := value.(string)
	return s
}

// number returns a value of a reply as a number.
func number(value any) int64 {
	switch v := value.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}
