package source_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stream"
)

// TestStreamsAboveMaxmemory reads streams while Redis refuses writes because it
// uses more memory than maxmemory allows.
func TestStreamsAboveMaxmemory(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T) (nodes []*redistest.Server, use func(*source.Config)){
		"RESP2": func(t *testing.T) ([]*redistest.Server, func(*source.Config)) {
			return []*redistest.Server{redistest.Start(t)}, protocol(2)
		},
		"RESP3": func(t *testing.T) ([]*redistest.Server, func(*source.Config)) {
			return []*redistest.Server{redistest.Start(t)}, protocol(3)
		},
		"Sentinel": func(t *testing.T) ([]*redistest.Server, func(*source.Config)) {
			g := redistest.StartGroup(t)
			return g.Nodes, sentinels(g.SentinelAddrs()...)
		},
		"cluster": func(t *testing.T) ([]*redistest.Server, func(*source.Config)) {
			c := startCluster(t, longNodeTimeout)
			return c.nodes, c.server
		},
	}
	for name, start := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes, use := start(t)
			l := startLive(t, nodes[0].Addr, []string{"order:*"}, use, durableFirst)
			testStreamsAboveMaxmemory(t, l, func(bytes string) {
				for _, node := range nodes {
					node.CLI("CONFIG", "SET", "maxmemory", bytes)
				}
			})
		})
	}
}

func testStreamsAboveMaxmemory(t *testing.T, l *runningLink, setMaxmemory func(bytes string)) {
	streams := l.Streams()
	var ids []stream.ID
	for range 2 {
		id, err := streams.Append(t.Context(), "order:1", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	setMaxmemory("1")
	for _, test := range []struct {
		name, channel string
		from          stream.ID
		entries       int
		state         bool
	}{
		{"from a known entry", "order:1", ids[0], 2, false},
		{"from the begin", "order:1", stream.ID{}, 2, true},
		{"a stream that does not exist", "order:2", stream.ID{}, 0, true},
	} {
		page, err := streams.Read(t.Context(), test.channel, test.from, 5)
		if err != nil || len(page.Entries) != test.entries || (page.State != nil) != test.state {
			t.Errorf("%s: read %+v, %v", test.name, page, err)
		}
	}
	if state, err := streams.State(t.Context(), "order:1"); err != nil || state.Tail.ID != ids[1] || state.Length != 2 {
		t.Errorf("the state is %+v, %v", state, err)
	}
	behind, err := streams.Behind(t.Context(), []stream.Place{{Channel: "order:1", ID: ids[0]}})
	if err != nil || !slices.Equal(behind, []bool{true}) {
		t.Errorf("behind: %v, %v", behind, err)
	}
	_, err = streams.Append(t.Context(), "order:1", []byte("y"))
	if errors.Is(err, stream.ErrNoStream) || err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("adding above maxmemory returned %v", err)
	}
	setMaxmemory("0")
	if _, err := streams.Append(t.Context(), "order:1", []byte("y")); err != nil {
		t.Errorf("adding below maxmemory returned %v", err)
	}
}
