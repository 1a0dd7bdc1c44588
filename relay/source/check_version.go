package source

import (
	"cmp"
	"context"
	"strconv"
	"strings"
)

// oldestVersion is the oldest Redis that the relay is meant for: 6.2.
const oldestVersion = 602

func (c *check) checkVersion(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	info, err := c.node.Info(ctx, "server").Result()
	if err != nil && !isRefusal(err) {
		c.failure("version", err)
		return
	}
	product, version := "Valkey", infoField(info, "valkey_version")
	if version == "" { // Valkey also reports a redis_version
		product, version = "Redis", infoField(info, "redis_version")
	}
	number, known := versionNumber(version)
	switch {
	case infoField(info, "run_id") == "" && !c.cfg.MarkersOff:
		c.warn("version", "the server does not report its run_id, so clients cannot resume at another replica of the relay",
			advise(cmp.Or(err, errNodeUnsupported), "grant +info"))
	case !known:
		c.ok("version", "the server does not report its version")
	default:
		level, text, do := c.cfg.versionFinding(number)
		c.add(level, "version", product+" "+version+text, do)
	}
	if infoField(info, "redis_mode") == "cluster" && c.cfg.Server.Mode != Cluster {
		c.warn("mode", "the server is a node of a cluster: the relay would not notice messages that are lost between the nodes, "+
			"and would find only the durable channels of this node", "set SIDECAST_REDIS_MODE=cluster")
	}
}

// versionFinding names the features for these settings that an old version
// lacks.
func (cfg Config) versionFinding(number int) (level Level, text, do string) {
	const update = "use Redis 6.2 or newer, or Valkey"
	uses := cfg.Features
	writes := uses.Events || uses.Webhooks || uses.Unheard
	switch {
	case number >= oldestVersion:
		return LevelOK, "", ""
	case number < 500 && (len(cfg.Durable) > 0 || writes):
		return LevelFail, " has no streams, which durable channels and events need", update
	case number < 602 && (uses.Webhooks || uses.Unheard):
		return LevelWarn, " lacks commands (XAUTOCLAIM, and XRANGE after an id) that webhooks and messages without a listener need", update
	case number < 600 && cfg.Server.Username != "":
		return LevelWarn, " has no users, and ignores or refuses SIDECAST_REDIS_USERNAME", update
	}
	return LevelWarn, ": the relay is not tested with versions before 6.2", update
}

// versionNumber returns 602 for 6.2.14.
func versionNumber(version string) (number int, ok bool) {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return 0, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return 100*major + minor, err1 == nil && err2 == nil
}
