package embedded

import (
	"slices"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// refuse answers in place of miniredis where that would crash: itself, which makes regular expressions of patterns and
// panics where that fails, on bytes that are not UTF-8 and on classes like [z-a]; or redis-cli, which asks for COMMAND DOCS
// as it starts, gets the answer to COMMAND and aborts. It runs before every command, also of scripts, which hold the
// database's lock.
func refuse(c *server.Peer, command string, args ...string) bool {
	switch {
	case command == "COMMAND" && len(args) > 0:
		c.WriteError("ERR unknown subcommand '" + args[0] + "'")
	case slices.ContainsFunc(patternsOf(command, args), func(pattern string) bool { return !compiles(pattern) }):
		c.WriteError("ERR the Redis in memory cannot read this pattern")
	default:
		return false
	}
	return true
}

// patternsOf returns the patterns among a command's arguments. The command is in capitals.
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

// compiles reports whether miniredis can read the pattern, by letting it try.
func compiles(pattern string) (ok bool) {
	defer func() { ok = recover() == nil }()
	miniredis.NewMiniRedis().NewSubscriber().Psubscribe(pattern)
	return true
}
