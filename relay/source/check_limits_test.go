package source

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
)

// wantFinding checks a finding. want is a level and a part of the text and the
// advice.
func wantFinding(t *testing.T, why string, level Level, text, do, want string) {
	t.Helper()
	got := text + "; " + do
	wantLevel, part, _ := strings.Cut(want, " ")
	if level.String() != wantLevel || !strings.Contains(got, part) || (do == "") != (level == LevelOK) {
		t.Errorf("%s:\n\t%v %s, want\n\t%s", why, level, got, want)
	}
}

func TestClientsFinding(t *testing.T) {
	for _, tt := range []struct{ why, info, want string }{
		{"usual", "connected_clients:12\r\nmaxclients:10000\r\n", "ok 12 of 10000 connections are in use"},
		{"a server that reports no limit", "connected_clients:12\r\n", "ok 12 are connected; the server does not report its limit"},
		{"a tenth left", "connected_clients:9000\r\nmaxclients:10000\r\n", "ok 9000 of 10000"},
		{"less than a tenth left", "connected_clients:9001\r\nmaxclients:10000\r\n", "warn 9001 of 10000 connections are in use; a relay may need 20"},
		{"the links of a cluster count", "connected_clients:5001\r\ncluster_connections:4000\r\nmaxclients:10000\r\n", "warn 9001 of 10000"},
		{"a small service that has just enough", "connected_clients:10\r\nmaxclients:30\r\n", "ok 10 of 30"},
		{"a small service", "connected_clients:11\r\nmaxclients:30\r\n", "warn raise maxclients"},
	} {
		level, text, do := clientsFinding(tt.info)
		wantFinding(t, tt.why, level, text, do, tt.want)
	}
}

func TestMemoryFinding(t *testing.T) {
	all := (&check{cfg: Config{Durable: make(access.Patterns, 1), Logins: true, Features: Features{
		Presence: true, Events: true, Webhooks: true, Unheard: true, Counts: true,
	}}}).stored()
	streams := (&check{cfg: Config{Durable: make(access.Patterns, 1)}}).stored()
	logins := (&check{cfg: Config{Logins: true}}).stored()
	unheard := (&check{cfg: Config{Features: Features{Unheard: true}}}).stored()
	if len(all) != 6 || len(streams) != 1 {
		t.Fatalf("%d and %d kinds of keys", len(all), len(streams))
	}
	info := func(used, limit int, policy string) string {
		return fmt.Sprintf("# Memory\r\nused_memory:%d\r\nmaxmemory:%d\r\nmaxmemory_policy:%s\r\n", used, limit, policy)
	}
	for _, tt := range []struct {
		why, info string
		stored    []store
		want      string
	}{
		{"no limit", info(1<<20, 0, "allkeys-lru"), all, "ok 1 MiB are in use, and there is no maxmemory"},
		{"a cache, and live channels only", info(99, 100, "allkeys-lru"), nil, "ok ; live channels need no keys"},
		{"a cache that has streams", info(3, 100, "allkeys-lru"), streams,
			"warn 3 % of maxmemory (100 bytes) are in use, and the policy is allkeys-lru: when it is full, Redis deletes keys, and then " +
				"messages of durable channels are lost; set maxmemory-policy to noeviction"},
		{"a cache that has logouts", info(3, 100, "allkeys-random"), logins, "warn logins that the application has ended become valid again"},
		{"a cache for everything", info(3, 100, "allkeys-lfu"), all, "warn members of channels are missing; events are lost; "},
		{"only keys that expire are deleted", info(3, 100, "volatile-ttl"), streams, "ok 3 % "},
		{"a key of the relay that expires", info(3, 100, "volatile-lru"), unheard, "warn 3 % of maxmemory (100 bytes) are in use, and the policy is " +
			"volatile-lru: when it is full, Redis deletes keys, and then messages are reported as unheard"},
		{"enough memory", info(89, 100, "noeviction"), streams, "ok 89 % of maxmemory (100 bytes) are in use, and the policy is noeviction"},
		{"nearly full", info(90, 100, "noeviction"), streams, "warn 90 % of maxmemory (100 bytes) are in use, and the policy is noeviction: " +
			"when it is full, Redis refuses writes, and then messages for durable channels are rejected; raise maxmemory"},
		{"nearly full of keys that do not expire", info(95, 100, "volatile-lru"), streams, "warn Redis refuses writes"},
		{"nearly full, and live channels only", info(99, 100, "noeviction"), nil, "ok 99 % "},
		{"a server that reports nothing", "", all, "ok 0 bytes"},
	} {
		level, text, do := memoryFinding(tt.info, tt.stored)
		wantFinding(t, tt.why, level, text, do, tt.want)
	}
}

func TestBufferFinding(t *testing.T) {
	for _, tt := range []struct {
		why, value string
		maxPayload int
		want       string
	}{
		{"the default", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", DefaultMaxPayload,
			"ok Redis closes the connection of a relay for which more than 32 MiB, or 8 MiB for 60 s wait"},
		{"no limit", "pubsub 0 0 0", DefaultMaxPayload, "ok no limit: "},
		{"a hard limit only", "pubsub 33554432 0 0", DefaultMaxPayload, "ok more than 32 MiB wait"},
		{"a soft limit only", "pubsub 0 8388608 60", DefaultMaxPayload, "ok more than 8 MiB for 60 s wait"},
		{"a low hard limit", "pubsub 1048576 0 0", DefaultMaxPayload, "warn Redis closes the connection of a relay for which more than 1 MiB wait: " +
			`a burst of messages then becomes a gap for all clients; raise it in Redis: CONFIG SET client-output-buffer-limit "pubsub 33554432 8388608 60"`},
		{"a low soft limit", "pubsub 33554432 1048576 10", DefaultMaxPayload, "warn "},
		{"too low for the payloads", "pubsub 33554432 8388608 60", 16 << 20, `warn "pubsub 268435456 67108864 60"`},
		{"another order", "pubsub 33554432 8388608 60 normal 0 0 0", DefaultMaxPayload, "ok Redis closes"},
		{"no answer", "", DefaultMaxPayload, "ok not checked: "},
		{"half an answer", "pubsub 1 2", DefaultMaxPayload, "ok not checked: "},
		{"not a number", "pubsub 32mb 8mb 60", DefaultMaxPayload, "ok not checked: "},
	} {
		level, text, do := bufferFinding(tt.value, tt.maxPayload)
		wantFinding(t, tt.why, level, text, do, tt.want)
	}
}

func TestVersionFinding(t *testing.T) {
	for _, tt := range []struct {
		why, version string
		cfg          Config
		want         string
	}{
		{"current", "7.0.15", Config{Durable: make(access.Patterns, 1), Features: Features{Webhooks: true}}, "ok "},
		{"the oldest", "6.2.0", Config{Features: Features{Unheard: true}}, "ok "},
		{"older, for live channels", "6.0.16", Config{}, "warn : the relay is not tested with versions before 6.2; use Redis 6.2 or newer"},
		{"older, with users", "6.0.16", Config{Server: Server{Username: "relay"}}, "warn : the relay is not tested"},
		{"without users", "5.0.14", Config{Server: Server{Username: "relay"}}, "warn  has no users"},
		{"older, for webhooks", "6.0.16", Config{Features: Features{Webhooks: true}}, "warn  lacks commands (XAUTOCLAIM, "},
		{"older, for unheard messages", "5.0.14", Config{Features: Features{Unheard: true}}, "warn  lacks commands"},
		{"older, for durable channels", "5.0.14", Config{Durable: make(access.Patterns, 1)}, "warn : the relay is not tested"},
		{"without streams", "4.0.14", Config{Durable: make(access.Patterns, 1)}, "fail  has no streams"},
		{"without streams, for events", "4.0.14", Config{Features: Features{Events: true}}, "fail  has no streams"},
		{"without streams, which are not in use", "3.2.12", Config{}, "warn : the relay is not tested"},
	} {
		number, ok := versionNumber(tt.version)
		if !ok {
			t.Fatal(tt.version)
		}
		level, text, do := tt.cfg.versionFinding(number)
		wantFinding(t, tt.why, level, text, do, tt.want)
	}
}

func TestSlotsFinding(t *testing.T) {
	node := []redis.ClusterNode{{Addr: "a:1"}}
	for _, tt := range []struct {
		why   string
		slots []redis.ClusterSlot
		want  string
	}{
		{"all", []redis.ClusterSlot{{Start: 8000, End: 16383, Nodes: node}, {Start: 0, End: 7999, Nodes: node}}, "ok a node serves each of the 16384"},
		{"none", nil, "fail no node serves 16384 of 16384 (0-16383): "},
		{"the first and the last", []redis.ClusterSlot{{Start: 1, End: 16382, Nodes: node}}, "fail no node serves 2 of 16384 (0-0, 16383-16383): "},
		{"a range without nodes", []redis.ClusterSlot{{Start: 0, End: 99}, {Start: 100, End: 16383, Nodes: node}}, "fail (0-99): "},
		{"many ranges", []redis.ClusterSlot{{Start: 1, End: 1, Nodes: node}, {Start: 3, End: 3, Nodes: node}, {Start: 5, End: 5, Nodes: node}},
			"fail 16381 of 16384 (0-0, 2-2, 4-4, ...): "},
		{"slots that do not exist", []redis.ClusterSlot{{Start: -5, End: 99999, Nodes: node}}, "ok "},
	} {
		level, text, do := slotsFinding(tt.slots)
		wantFinding(t, tt.why, level, text, do, tt.want)
	}
}

// FuzzLimits checks that no answer of a server, however strange, leads to a
// finding without a text, or to a problem without advice.
func FuzzLimits(f *testing.F) {
	f.Add("used_memory:9223372036854775807\r\nmaxmemory:1\r\nmaxmemory_policy:allkeys-lru", "pubsub 9223372036854775807 1 1", 0, 16383)
	f.Add("connected_clients:-9223372036854775808\r\ncluster_connections:-1\r\nmaxclients:9223372036854775807", "pubsub -1 -1 -1", -1, 1<<40)
	f.Add("maxclients:-1\r\nmaxmemory:-1\r\nused_memory:x", "pubsub pubsub", 5, 4)
	f.Fuzz(func(t *testing.T, info, buffers string, first, last int) {
		stored := []store{{false, "a", "b"}, {true, "c", "d"}}
		slots := []redis.ClusterSlot{{Start: first, End: last, Nodes: []redis.ClusterNode{{}}}}
		for name, find := range map[string]func() (Level, string, string){
			"clients": func() (Level, string, string) { return clientsFinding(info) },
			"memory":  func() (Level, string, string) { return memoryFinding(info, stored) },
			"buffers": func() (Level, string, string) { return bufferFinding(buffers, DefaultMaxPayload) },
			"slots":   func() (Level, string, string) { return slotsFinding(slots) },
		} {
			if level, text, do := find(); text == "" || (do == "") != (level == LevelOK) {
				t.Errorf("%s: %v %q; %q", name, level, text, do)
			}
		}
	})
}
