package source

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// errNodeUnsupported reports that the server does not identify itself.
var errNodeUnsupported = errors.New("the server does not report its run_id")

// readNodeTag returns the tag of the server that conn leads to: a hash of its
// run_id, which differs between servers and changes when a server restarts. It
// returns errNodeUnsupported if the server refuses to answer, and other errors
// if it could not be asked.
func readNodeTag(ctx context.Context, conn doer) (uint32, error) {
	info, err := conn.Do(ctx, "INFO", "server").Text()
	if err != nil && !isRefusal(err) {
		return 0, err
	}
	if id := infoField(info, "run_id"); err == nil && id != "" {
		return nodeTag(id), nil
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNodeUnsupported, err)
	}
	return 0, errNodeUnsupported
}

// infoField returns a field of the answer to INFO, or an empty string.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if key, value, ok := strings.Cut(line, ":"); ok && key == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func nodeTag(runID string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(runID))
	return h.Sum32()
}

// randomNode returns a tag that is used for one epoch only.
func randomNode() uint32 { return rand.Uint32() }
