package embedded

import (
	"slices"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// rejectUnsafe answers commands that would crash miniredis or redis-cli, and
// reports whether it did.
//
// miniredis converts patterns to regular expressions and panics if one is
// invalid, for example on bytes that are not UTF-8 and on classes like [z-a].
// redis-cli sends COMMAND DOCS when it starts, and aborts when miniredis
// answers as if to COMMAND.
//
// miniredis calls rejectUnsafe before every command, including the commands of
// scripts, which hold the database's lock.
func rejectUnsafe(c *server.Peer, command string, args ...string) bool {
	switch {
	case command == "COMMAND" && len(args) > 0:
		c.WriteError("ERR unknown subcommand '" + args[0] + "'")
	case slices.ContainsFunc(patternsOf(command, args), func(pattern string) bool { return !compiles(pattern) }):
		c.WriteError("ERR the in-memory Redis does not support this pattern")
	default:
		return false
	}
	return true
}

// patternsOf returns the patterns among a command's arguments. The command must
// be in capital letters.
func patternsOf(command string, args []string) []string {
	switch command {
	case "KEYS", "PSUBSCRIBE":
		return args
	case "PUBSUB":
		return args[min(1, len(args)):]
	case "SCAN", "HSCAN", "SSCAN", "ZSCAN":
		var patterns []string
		for i := 1; i < len(args); i++ {
			if strings.EqualFold(args[i-1], "MATCH") {
				patterns = append(patterns, args[i])
			}
		}
		return patterns
	}
	return nil
}

// compiles reports whether miniredis supports the pattern. It subscribes to the
// pattern at a separate instance, which panics if not.
func compiles(pattern string) (ok bool) {
	defer func() { ok = recover() == nil }()
	miniredis.NewMiniRedis().NewSubscriber().Psubscribe(pattern)
	return true
}
