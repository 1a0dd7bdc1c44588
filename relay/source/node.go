package source

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// errUnknownNode says that the server does not tell who it is.
var errUnknownNode = errors.New("the server does not tell its run_id")

// askNode returns the tag of the server behind a conn: a hash of its run_id, which no two servers share and which changes
// when one restarts. It returns errUnknownNode where the server refuses to tell, and other errors where it could not be
// asked.
func askNode(ctx context.Context, conn asker) (uint32, error) {
	info, err := conn.Do(ctx, "INFO", "server").Text()
	if err != nil && !isRefusal(err) {
		return 0, err
	}
	if id := runID(info); err == nil && id != "" {
		return nodeTag(id), nil
	}
	return 0, errUnknownNode
}

// runID finds the run_id in the answer to INFO.
func runID(info string) string {
	for line := range strings.Lines(info) {
		if id, ok := strings.CutPrefix(line, "run_id:"); ok {
			return strings.TrimSpace(id)
		}
	}
	return ""
}

func nodeTag(runID string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(runID))
	return h.Sum32()
}

// randomNode returns a tag that stands for one epoch alone.
func randomNode() uint32 { return rand.Uint32() }
