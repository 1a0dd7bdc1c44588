package source

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
)

// checkBuffers checks how many bytes Redis lets wait for a relay. It is the only
// place where Sidecast uses CONFIG, which many users may not run.
func (c *check) checkBuffers(ctx context.Context) {
	const subject, parameter = "output buffer", "client-output-buffer-limit"
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	values, err := c.node.ConfigGet(ctx, parameter).Result()
	switch {
	case isDenied(replyOf(err)):
		c.ok(subject, "not checked: only this check would need +config|get")
	case err != nil && !isRefusal(err):
		c.failure(subject, err)
	case err != nil:
		c.ok(subject, "not checked: the server does not let users see its configuration")
	default:
		level, text, do := bufferFinding(values[parameter], cmp.Or(c.cfg.MaxPayload, DefaultMaxPayload))
		c.add(level, subject, text, do)
	}
}

// bufferFinding describes the limit of pub/sub clients in the value of
// client-output-buffer-limit.
func bufferFinding(value string, maxPayload int) (level Level, text, do string) {
	hard, soft, seconds, ok := pubsubLimit(value)
	switch {
	case !ok:
		return LevelOK, "not checked: the server does not report the limit", ""
	case hard == 0 && soft == 0:
		return LevelOK, "no limit: what waits for a relay that stands still uses Redis's memory", ""
	}
	var limits []string
	if hard > 0 {
		limits = append(limits, sizeText(hard))
	}
	if soft > 0 {
		limits = append(limits, fmt.Sprintf("%s for %d s", sizeText(soft), seconds))
	}
	text = "Redis closes the connection of a relay for which more than " + strings.Join(limits, ", or ") + " wait"
	needHard := int64(max(8<<20, 4*maxPayload))
	if hard > 0 && hard < needHard || soft > 0 && soft < needHard/4 {
		return LevelWarn, text + ": a burst of messages then becomes a gap for all clients",
			fmt.Sprintf(`raise it in Redis: CONFIG SET client-output-buffer-limit "pubsub %d %d 60"`, 4*needHard, needHard)
	}
	return LevelOK, text, ""
}

// pubsubLimit reads the limit of pub/sub clients: bytes, and other bytes that may
// wait for some seconds.
func pubsubLimit(value string) (hard, soft, seconds int64, ok bool) {
	_, rest, found := strings.Cut(value, "pubsub ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 3 {
		return 0, 0, 0, false
	}
	var numbers [3]int64
	for i := range numbers {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, 0, 0, false
		}
		numbers[i] = n
	}
	return numbers[0], numbers[1], numbers[2], true
}
