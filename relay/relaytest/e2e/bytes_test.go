package e2e_test

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// allBytes returns all 256 bytes.
func allBytes() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

// bodies are payloads as applications publish them, and payloads that break
// relays which interpret them.
var bodies = []struct{ name, text string }{
	{"ASCII", "hello"},
	{"UTF-8 with emoji", "grüße, привет, 日本, 👋🏽👨‍👩‍👧 and a combining e\u0301"},
	{"quotes and a script", `"it's" \"quoted\" </script><script>alert(1)</script><!-- {"type":"gap"} \u0000`},
	{"lines", "one\r\ntwo\nthree\rfour\u2028five\u2029six\n"},
	{"RESP", "*3\r\n$7\r\nPUBLISH\r\n$1\r\nx\r\n$1\r\ny\r\n"},
	{"empty", ""},
	{"a line feed", "\n"},
	{"binary", allBytes()},
	{"a zero byte", "a\x00b"},
	{"UTF-8 that ends within a character", "caf\xc3"},
	{"a byte less than 1 MiB, text", strings.Repeat("0123456789abcde\n", 1<<16)[:1<<20-1]},
	{"a byte less than 1 MiB, binary", strings.Repeat(allBytes(), 1<<12)[:1<<20-1]},
	{"1 MiB", strings.Repeat("é", 1<<19)},
}

// maxArgument is the size in bytes that Linux permits for one argument,
// including the final zero byte.
const maxArgument = 128 << 10

// publishers return a command that publishes a payload on a channel as a
// backend does, or nil if they cannot publish this payload.
var publishers = map[string]func(t testing.TB, server *redistest.Server, channel, body string) *exec.Cmd{
	"redis-cli": func(t testing.TB, server *redistest.Server, channel, body string) *exec.Cmd {
		redistest.Require(t, "redis-cli", "redis-tools")
		return withInput(exec.Command("redis-cli", "-e", "-p", server.Port(), "-x", "PUBLISH", channel), body)
	},
	"phpredis": func(t testing.TB, server *redistest.Server, channel, body string) *exec.Cmd {
		requirePHP(t)
		return withInput(exec.Command("php", "testdata/phpredis.php", server.Port(), channel), body)
	},
	"RESP from PHP": func(t testing.TB, server *redistest.Server, channel, body string) *exec.Cmd {
		requirePHP(t)
		return withInput(exec.Command("php", "testdata/resp.php", server.Port(), channel), body)
	},
	"sidecast publish": func(t testing.TB, server *redistest.Server, channel, body string) *exec.Cmd {
		if strings.Contains(body, "\x00") || len(body) >= maxArgument || body == "-" {
			return nil
		}
		return sidecastPublish(t, server, channel, body)
	},
	"sidecast publish -": func(t testing.TB, server *redistest.Server, channel, body string) *exec.Cmd {
		return withInput(sidecastPublish(t, server, channel, "-"), body)
	},
}

func sidecastPublish(t testing.TB, server *redistest.Server, channel, argument string) *exec.Cmd {
	cmd := exec.Command(relaytest.Build(t), "publish", channel, argument)
	cmd.Env = environment(openSettings(server, nil))
	return cmd
}

func withInput(cmd *exec.Cmd, body string) *exec.Cmd {
	cmd.Stdin = strings.NewReader(body)
	return cmd
}

// TestByteForByte: clients receive every payload without a changed byte, from
// every publisher.
func TestByteForByte(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	for _, name := range slices.Sorted(maps.Keys(publishers)) {
		t.Run(name, func(t *testing.T) {
			channel := "by " + name
			raw, v1 := listenRaw(t, relay, channel), listen(t, relay, channel)
			sent := 0
			for _, body := range bodies {
				cmd := publishers[name](t, server, channel, body.text)
				if cmd == nil {
					continue
				}
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("publishing %s: %v\n%s", body.name, err, out)
				}
				sent++
				wantMessage(t, body.name, hears(t, raw, sent)[sent-1], body.text)
				wantMessage(t, body.name, hears(t, v1, sent)[sent-1], body.text)
			}
			if sent < len(bodies)/2 {
				t.Errorf("only %d of %d payloads were published", sent, len(bodies))
			}
			if got := len(hears(t, raw, sent)) + len(hears(t, v1, sent)); got != 2*sent {
				t.Errorf("the clients received %d messages, want %d", got, 2*sent)
			}
		})
	}
}

// wantMessage compares a message with its payload. A payload must arrive as
// text if it is UTF-8, and otherwise as binary.
func wantMessage(t testing.TB, name string, e relaytest.Event, want string) {
	t.Helper()
	if e.Data != want {
		t.Errorf("%s: %s", name, difference(e.Data, want))
	}
	if e.Binary == utf8.ValidString(want) {
		t.Errorf("%s: binary is %v", name, e.Binary)
	}
}

// difference describes the first difference of two payloads, which may be long.
func difference(got, want string) string {
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	around := func(s string) string { return s[max(0, min(i-20, len(s))):min(i+20, len(s))] }
	return fmt.Sprintf("%d bytes, want %d; from byte %d on %q, want %q",
		len(got), len(want), i, around(got), around(want))
}
