package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
)

// A tailEvent is a line of JSON of `sidecast tail`.
type tailEvent struct {
	Type, Channel, Cursor, Reason, Data string

	Recovered *bool
	Code      int
}

// tailEvents returns the lines of JSON that a running tail has printed.
func tailEvents(t testing.TB, tail *relaytest.Process) (events []tailEvent) {
	t.Helper()
	log := tail.Log()
	for line := range strings.Lines(log[:strings.LastIndexByte(log, '\n')+1]) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var event tailEvent
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		events = append(events, event)
	}
	return events
}

// tailData returns the messages of a channel among the events. Where messages may
// be missing, it has one "gap": a relay that has just started may have more than
// one reason.
func tailData(events []tailEvent, channel string) (data []string) {
	for _, e := range events {
		isGap := e.Type == "gap" && (e.Channel == channel || e.Channel == "")
		switch {
		case e.Type == "message" && e.Channel == channel:
			data = append(data, e.Data)
		case isGap && (len(data) == 0 || data[len(data)-1] != "gap"):
			data = append(data, "gap")
		}
	}
	return data
}

// awaitTail waits until tail has printed a line that contains all parts.
func awaitTail(tail *relaytest.Process, parts ...string) {
	tail.AwaitLog(func(line string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) })
	})
}

func wantTail(t testing.TB, tail *relaytest.Process, channel string, want ...string) {
	t.Helper()
	if got := tailData(tailEvents(t, tail), channel); !slices.Equal(got, want) {
		t.Errorf("on %s, tail prints %q, want %q", channel, got, want)
	}
}

// After the connection broke, tail continues where it stopped: on live and on
// durable channels, and on the user's own channel, to which the relay subscribes
// it before it can ask.
func TestTailResumes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	settings := openSettings(server, map[string]string{
		"SIDECAST_DURABLE_CHANNELS": "order:*", "SIDECAST_USER_CHANNELS": "user:{user}", "SIDECAST_JWT_SECRET": strings.Repeat("s", 32),
	})
	relay := start(t, settings)
	token, code := sidecast(t, settings, "token", "--user", "42", "--channel", "*")
	if code != 0 {
		t.Fatal(token)
	}
	file := redistest.WriteFile(t, "token", []byte(token))
	proxy := faultproxy.Start(t, relay.Addr())
	channels := []string{"chat", "order:7", "user:42"}
	tail := relaytest.Start(t, settings,
		append([]string{"tail", "--url", "ws://" + proxy.Addr + "/ws", "--token-file", file}, channels...)...)
	for _, channel := range channels {
		awaitTail(tail, "# listening to "+channel)
	}
	var want []string
	publish := func(text string) {
		want = append(want, text)
		for _, channel := range channels {
			if out, code := sidecast(t, settings, "publish", channel, text); code != 0 {
				t.Fatal(out)
			}
		}
	}
	publish("first")
	for _, channel := range channels {
		awaitTail(tail, `"channel":"`+channel+`"`, `"data":"first"`)
	}
	for i := range 3 {
		proxy.Refuse(true)
		proxy.Reset()
		awaitTail(tail, "# the connection is lost; trying again in ")
		publish(fmt.Sprint("missed ", i))
		publish(fmt.Sprint("missed too ", i))
		proxy.Refuse(false)
		for _, channel := range channels {
			awaitTail(tail, `"channel":"`+channel+`"`, fmt.Sprintf(`"data":"missed too %d"`, i))
		}
	}
	publish("last")
	for _, channel := range channels {
		awaitTail(tail, `"channel":"`+channel+`"`, `"data":"last"`)
		wantTail(t, tail, channel, want...)
		awaitTail(tail, "# listening to "+channel+" again, from where it stopped")
	}
	for _, e := range tailEvents(t, tail) {
		if e.Type == "subscribed" && e.Recovered != nil && !*e.Recovered || e.Type == "message" && e.Cursor == "" {
			t.Errorf("%+v", e)
		}
	}
}

// If the relay is killed, another one in its place does not know what was
// published meanwhile: tail prints a gap before the next message. On a durable
// channel, nothing is missing. If Redis is killed, tail prints that it is gone,
// and a gap before the next message.
func TestTailNamesGaps(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	settings := openSettings(server, map[string]string{
		"SIDECAST_DURABLE_CHANNELS": "order:*", "SIDECAST_LISTEN": redistest.FreeAddr(t),
	})
	relay := start(t, settings)
	tail := relaytest.Start(t, settings, "tail", "chat", "order:7", "chat")
	awaitTail(tail, "# listening to chat")
	awaitTail(tail, "# listening to order:7")
	server.CLI("PUBLISH", "chat", "first")
	server.CLI("XADD", "order:7", "*", "data", "first")
	server.CLI("PUBLISH", "order:7", "")
	awaitTail(tail, `"channel":"chat"`, `"data":"first"`)
	awaitTail(tail, `"channel":"order:7"`, `"data":"first"`)

	relay.Kill()
	awaitTail(tail, "; trying again in ")
	server.CLI("PUBLISH", "chat", "lost")
	server.CLI("XADD", "order:7", "*", "data", "kept")
	relay = start(t, settings)
	awaitTail(tail, "# gap (unrecovered): messages of chat may be missing here")
	awaitTail(tail, `"channel":"order:7"`, `"data":"kept"`)
	relay.AwaitMessage("redis connected")
	server.CLI("PUBLISH", "chat", "second")
	awaitTail(tail, `"channel":"chat"`, `"data":"second"`)

	server.Kill()
	awaitTail(tail, "# the relay has lost its connection to Redis")
	server.Restart()
	eventually(t, func() string {
		if data := tailData(tailEvents(t, tail), "chat"); data[len(data)-1] != "gap" {
			return fmt.Sprintf("no gap after %q", data)
		}
		return ""
	})
	server.CLI("PUBLISH", "chat", "third")
	awaitTail(tail, `"channel":"chat"`, `"data":"third"`)
	wantTail(t, tail, "chat", "first", "gap", "second", "gap", "third")
	terminate(tail)
	if code := tail.Wait(); code != 0 {
		t.Errorf("tail exits with %d after a signal", code)
	}
}

// Only messages that all filters select are printed, and gaps always.
func TestTailFilter(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	tail := relaytest.Start(t, nil, "tail", "--url", relay.URL(), "chat", "--filter", ".type=order", "--filter", "paid")
	awaitTail(tail, "# listening to chat")
	for _, payload := range []string{
		`{"type":"order","state":"paid"}`, `{"type":"order","state":"new"}`, `{"type":"other","state":"paid"}`, "paid",
		`{"type":"order","n":2,"state":"paid"}`,
	} {
		server.CLI("PUBLISH", "chat", payload)
	}
	awaitTail(tail, `\"n\":2`)
	wantTail(t, tail, "chat", `{"type":"order","state":"paid"}`, `{"type":"order","n":2,"state":"paid"}`)
}

// A token that has expired is read again from its file.
func TestTailRenewsToken(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	settings := openSettings(server, map[string]string{"SIDECAST_JWT_SECRET": strings.Repeat("s", 32)})
	relay := start(t, settings)
	file := filepath.Join(t.TempDir(), "token")
	write := func(lifetime string) {
		token, code := sidecast(t, settings, "token", "--user", "42", "--channel", "*", "--ttl", lifetime)
		if code != 0 {
			t.Fatal(token)
		}
		if err := os.WriteFile(file+".new", []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("20s")
	tail := relaytest.Start(t, settings, "tail", "--url", relay.URL(), "--token-file", file, "chat")
	awaitTail(tail, "# listening to chat")
	write("1h")
	awaitTail(tail, "# the relay has closed the connection (4401 ")
	awaitTail(tail, "# listening to chat again, from where it stopped")
	server.CLI("PUBLISH", "chat", "hello")
	awaitTail(tail, `"data":"hello"`)
}

// What the relay tells pages about a private channel is no advice for a command.
func TestTailPrivateChannel(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	settings := openSettings(server, map[string]string{
		"SIDECAST_PUSHER_KEY": "key", "SIDECAST_PUSHER_SECRET": strings.Repeat("s", 32),
	})
	relay := start(t, settings)
	out, code := sidecast(t, settings, "tail", "--url", relay.URL(), "private-x")
	if code != 1 || strings.Contains(out, "let the page") || !strings.Contains(out, "tail needs a token that grants the channel") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// A connection that carries nothing any more is dead, although no side has closed
// it. tail notices the missing heartbeats.
func TestTailNoticesDeadConnection(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, map[string]string{"SIDECAST_PING_INTERVAL": "5s", "SIDECAST_PONG_TIMEOUT": "4s"})
	proxy := faultproxy.Start(t, relay.Addr())
	tail := relaytest.Start(t, nil, "tail", "--url", "ws://"+proxy.Addr+"/ws", "chat")
	awaitTail(tail, "# listening to chat")
	proxy.Hold(faultproxy.Both...)
	server.CLI("PUBLISH", "chat", "missed")
	awaitTail(tail, "# the connection is dead: no heartbeat for 9 s; trying again in ")
	proxy.Reset()
	proxy.Release(faultproxy.Both...)
	awaitTail(tail, "# listening to chat again, from where it stopped")
	awaitTail(tail, `"data":"missed"`)
	wantTail(t, tail, "chat", "missed")
}

// A durable channel cannot be resumed while Redis is gone: tail asks again until
// it can.
func TestTailWaitsForRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, map[string]string{"SIDECAST_DURABLE_CHANNELS": "order:*"})
	proxy := faultproxy.Start(t, relay.Addr())
	tail := relaytest.Start(t, nil, "tail", "--url", "ws://"+proxy.Addr+"/ws", "order:7")
	awaitTail(tail, "# listening to order:7")
	add := func(text string) {
		server.CLI("XADD", "order:7", "*", "data", text)
		server.CLI("PUBLISH", "order:7", "")
	}
	add("first")
	awaitTail(tail, `"data":"first"`)
	server.Kill()
	awaitTail(tail, "# the relay has lost its connection to Redis")
	proxy.Reset()
	awaitTail(tail, "# the relay has no connection to Redis: no messages arrive until it is back")
	awaitTail(tail, "# order:7: this cannot be done now; try again later (unavailable)")
	server.Restart() // without the stream
	eventually(t, func() string {
		if data := tailData(tailEvents(t, tail), "order:7"); data[len(data)-1] != "gap" {
			return fmt.Sprintf("no gap after %q", data)
		}
		return ""
	})
	add("second")
	awaitTail(tail, `"data":"second"`)
	wantTail(t, tail, "order:7", "first", "gap", "second")
}
