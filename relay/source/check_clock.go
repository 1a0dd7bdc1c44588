package source

import (
	"context"
	"fmt"
	"time"
)

// maxSkew is how much clocks may differ without a warning: an application ends
// the logins that were made before a time.
const maxSkew = time.Second

// checkClock compares the clocks of Redis and this machine.
func (c *check) checkClock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	asked := time.Now()
	now, err := c.node.Time(ctx).Result()
	answered := time.Now()
	if err != nil {
		c.now = answered
		c.ok("clock", "not compared: the server does not report its time")
		return
	}
	c.now = now
	level, text, do := clockFinding(now, asked, answered)
	c.add(level, "clock", text, do)
}

// clockFinding describes how a clock, which showed a time between two moments,
// differs from this machine's.
func clockFinding(shown, asked, answered time.Time) (level Level, text, do string) {
	switch {
	case shown.After(answered.Add(maxSkew)):
		text = fmt.Sprintf("the clock of Redis is %v ahead of this machine's", shown.Sub(answered).Round(time.Second))
	case shown.Before(asked.Add(-maxSkew)):
		text = fmt.Sprintf("the clock of Redis is %v behind this machine's", asked.Sub(shown).Round(time.Second))
	default:
		return LevelOK, "the clocks of Redis and this machine agree", ""
	}
	return LevelWarn, text, "set both clocks, for example with NTP"
}
