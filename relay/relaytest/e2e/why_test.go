//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/why"
)

// A mistake is one because of which a message does not arrive. make makes it on
// a channel, and returns further options for `sidecast why`.
type mistake struct {
	comment string
	make    func(t *testing.T, p *whyPlace, channel string) (options []string)
	want    why.Result
	text    string // part of what people read; %s is the channel
}

// A whyPlace is where mistakes are made.
type whyPlace struct {
	server  *redistest.Server
	relay   *relaytest.Process
	witness *relaytest.Client // receives a message after each of the others
	n       int               // how many
}

// witnessed is the channel of the witness.
const witnessed = "order:witness"

func newWhyPlace(t *testing.T, settings map[string]string) *whyPlace {
	t.Helper()
	p := &whyPlace{server: redistest.Start(t)}
	p.relay = startRelay(t, p.server, settings)
	p.witness = listen(t, p.relay, witnessed)
	return p
}

// subscribed returns a client, and the id of its session.
func (p *whyPlace) subscribed(t *testing.T, channels ...string) (client *relaytest.Client, session string) {
	t.Helper()
	client = listen(t, p.relay, channels...)
	return client, sessionOf(t, client)
}

func sessionOf(t *testing.T, client *relaytest.Client) string {
	t.Helper()
	e, err := client.Await(t.Context(), relaytest.Is(relaytest.KindWelcome))
	if err != nil {
		t.Fatal(err)
	}
	return e.Text
}

// publish publishes a message and waits until the relay has processed it.
func (p *whyPlace) publish(t *testing.T, channel, payload string) {
	t.Helper()
	p.server.CLI("PUBLISH", channel, payload)
	p.server.CLI("PUBLISH", witnessed, "")
	p.n++
	hears(t, p.witness, p.n)
}

// send sends a command and waits until it was done.
func send(t *testing.T, client *relaytest.Client, command string) {
	t.Helper()
	if err := client.SendText(command); err != nil {
		t.Fatal(err)
	}
	if err := client.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// mistakes can all be made at the same relay.
var mistakes = []mistake{
	{"none", func(t *testing.T, p *whyPlace, channel string) []string {
		client, session := p.subscribed(t, channel)
		p.publish(t, channel, "hi")
		hears(t, client, 1)
		return []string{"--session", session}
	}, why.Sent, "Sent at once"},
	{"the page subscribes after the message", func(t *testing.T, p *whyPlace, channel string) []string {
		p.publish(t, channel, "hi")
		_, session := p.subscribed(t, channel)
		return []string{"--session", session}
	}, why.Late, "subscribed later"},
	{"the page had unsubscribed", func(t *testing.T, p *whyPlace, channel string) []string {
		client, session := p.subscribed(t, channel)
		send(t, client, fmt.Sprintf(`{"type":"unsubscribe","channel":%q}`, channel))
		p.publish(t, channel, "hi")
		return []string{"--session", session}
	}, why.Left, "the client unsubscribed"},
	{"the page was closed", func(t *testing.T, p *whyPlace, channel string) []string {
		client, session := p.subscribed(t, channel)
		p.publish(t, channel, "hi")
		hears(t, client, 1)
		if err := client.Close(t.Context(), 1000, ""); err != nil {
			t.Fatal(err)
		}
		p.publish(t, channel, "anyone?")
		return []string{"--session", session}
	}, why.Ended, "ended"},
	{"nobody is subscribed", func(t *testing.T, p *whyPlace, channel string) []string {
		p.publish(t, channel, "hi")
		return nil
	}, why.NoListener, "nobody was subscribed"},
	{"the page may not receive the channel", func(t *testing.T, p *whyPlace, channel string) []string {
		client := dial(t, &relaytest.Dialer{URL: p.relay.URL()})
		if err := client.Subscribe(t.Context(), "private-"+channel); err == nil {
			t.Fatal("it was not refused")
		}
		p.publish(t, "private-"+channel, "hi")
		return []string{"--channel", "private-" + channel, "--session", sessionOf(t, client)}
	}, why.Refused, "SIDECAST_PUBLIC_CHANNELS"},
	{"a page without a library may not receive the channel", func(t *testing.T, p *whyPlace, channel string) []string {
		wantClose(t, dial(t, &relaytest.Dialer{URL: p.relay.URL(), Protocol: relaytest.Raw, Channels: []string{"private-" + channel}}), 4403)
		return []string{"--channel", "private-" + channel}
	}, why.Refused, "was refused"},
	{"the message is too large", func(t *testing.T, p *whyPlace, channel string) []string {
		client, session := p.subscribed(t, channel)
		p.publish(t, channel, strings.Repeat("x", 5<<10))
		if _, err := client.Await(t.Context(), relaytest.Is(relaytest.KindGap)); err != nil {
			t.Fatal(err)
		}
		return []string{"--session", session}
	}, why.TooLarge, "SIDECAST_MAX_PAYLOAD_BYTES"},
	{"the application publishes to a similar name", func(t *testing.T, p *whyPlace, channel string) []string {
		p.subscribed(t, channel)
		p.publish(t, strings.ToUpper(channel[:1])+channel[1:], "hi")
		return nil
	}, why.NoMessage, "had messages"},
	{"the application publishes elsewhere", func(t *testing.T, p *whyPlace, channel string) []string {
		_, session := p.subscribed(t, channel)
		return []string{"--session", session}
	}, why.NoMessage, "Nothing arrived on \"%s\""},
	{"the application publishes to a durable channel without XADD", func(t *testing.T, p *whyPlace, channel string) []string {
		p.subscribed(t, "log:"+channel)
		p.publish(t, "log:"+channel, "hi")
		return []string{"--channel", "log:" + channel}
	}, why.NoMessage, "XADD"},
	{"the page asked not to receive its own messages", func(t *testing.T, p *whyPlace, channel string) []string {
		client, session := p.subscribed(t, channel)
		send(t, client, fmt.Sprintf(`{"type":"publish","channel":%q,"data":"hi","echo":false}`, channel))
		return []string{"--session", session}
	}, why.Own, "published"},
	{"the page is subscribed to another channel", func(t *testing.T, p *whyPlace, channel string) []string {
		_, session := p.subscribed(t, channel+"0")
		p.publish(t, channel, "hi")
		return []string{"--session", session}
	}, why.NotThere, "not subscribed to \"%s\""},
	{"the user was not connected", func(t *testing.T, p *whyPlace, channel string) []string {
		p.publish(t, channel, "hi")
		return []string{"--user", "42"}
	}, why.NotThere, "had no connection"},
}

// TestWhy makes mistakes for real: each is named by `sidecast why`.
func TestWhy(t *testing.T) {
	t.Parallel()
	p := newWhyPlace(t, map[string]string{
		"SIDECAST_PUBLIC_CHANNELS": "order:*,log:*,Order:*", "SIDECAST_DURABLE_CHANNELS": "log:*", "SIDECAST_MAX_PAYLOAD_BYTES": "4KiB",
	})
	for i, m := range mistakes {
		t.Run(m.comment, func(t *testing.T) {
			channel := fmt.Sprintf("order:%d", 100*i)
			before := time.Now()
			options := append([]string{"--channel", channel, "--relay", "http://" + p.relay.AdminAddr()}, m.make(t, p, channel)...)
			wantWhy(t, before, options, m.want, strings.ReplaceAll(m.text, "%s", channel))
		})
	}
}

// TestWhyTimeZone: the command reads and writes times in its own time zone,
// whatever that of the relay is.
func TestWhyTimeZone(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Skip(err)
	}
	p := newWhyPlace(t, map[string]string{"TZ": "UTC"})
	at := time.Now().In(zone)
	p.publish(t, "order:7", "hi")
	p.subscribed(t, "order:7")
	out, code := sidecast(t, map[string]string{"TZ": "Asia/Tokyo"}, "why", "--relay", "http://"+p.relay.AdminAddr(),
		"--channel", "order:7", "--at", at.Format("15:04:05"), "--for", "1h")
	_, later, _ := strings.Cut(out, "subscribed later, at ")
	heading, _, _ := strings.Cut(out, ", 2 bytes:")
	_, message, _ := strings.Cut(heading, " at ")
	hours := []string{at.Format("15:"), time.Now().In(zone).Format("15:")}
	if code != 0 || len(later) < 3 || len(message) < 3 || !slices.Contains(hours, later[:3]) || !slices.Contains(hours, message[:3]) {
		t.Errorf("exit code %d, want the hour %q in\n%s", code, hours, out)
	}
}

// ask runs `sidecast why`.
func ask(t *testing.T, at time.Time, options ...string) (output string, code int) {
	t.Helper()
	args := append([]string{"why", "--at", strconv.FormatInt(at.UnixMilli(), 10), "--for", "1h"}, options...)
	return sidecast(t, nil, args...)
}

// wantWhy asks until an answer has a result, and compares what people read.
func wantWhy(t *testing.T, at time.Time, options []string, want why.Result, text string) {
	t.Helper()
	for end := time.Now().Add(relaytest.Patience); ; {
		out, code := ask(t, at, append([]string{"--json"}, options...)...)
		if code == 0 && slices.ContainsFunc(whyLines(t, out), func(l why.Line) bool { return l.Result == want }) {
			break
		}
		if code == 2 || time.Now().After(end) {
			t.Fatalf("no answer is %s (exit code %d):\n%s", want, code, out)
		}
	}
	out, code := ask(t, at, options...)
	if code != 0 || !strings.Contains(out, text) || !strings.Contains(out, "  "+string(want)+" ") {
		t.Errorf("exit code %d, want %s and %q in\n%s", code, want, text, out)
	}
}

func whyLines(t *testing.T, out string) (lines []why.Line) {
	t.Helper()
	in := json.NewDecoder(strings.NewReader(out))
	for in.More() {
		var line why.Line
		if err := in.Decode(&line); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		lines = append(lines, line)
	}
	return lines
}

// TestWhyEvicted: a client that reads too slowly.
func TestWhyEvicted(t *testing.T) {
	t.Parallel()
	p := newWhyPlace(t, map[string]string{
		"SIDECAST_MAX_PAYLOAD_BYTES": "64KiB", "SIDECAST_OUTBOX_BYTES": "256KiB", "SIDECAST_WRITE_TIMEOUT": "500ms",
	})
	before := time.Now()
	listenStalled(t, p.relay, "order:7")
	const evicted = `sidecast_connections_closed_total{code="4408"}`
	for end := time.Now().Add(relaytest.Patience); metric(t, p.relay, evicted) == 0; {
		if time.Now().After(end) {
			t.Fatal("the client is not evicted")
		}
		p.server.CLI("EVAL", "for i = 1, 20 do redis.call('PUBLISH', 'order:7', string.rep('x', 60000)) end", "0")
	}
	wantWhy(t, before, []string{"--channel", "order:7", "--relay", "http://" + p.relay.AdminAddr()}, why.Evicted, "read too slowly")
}

// TestWhyNoLink: Redis was unreachable when the application published.
func TestWhyNoLink(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr)
	relay := start(t, with(openSettings(server, nil), "SIDECAST_REDIS_URL", "redis://"+proxy.Addr))
	client := listen(t, relay, "order:7")
	before := time.Now()
	proxy.Refuse(true)
	proxy.Cut()
	if _, err := client.Await(t.Context(), relaytest.Is(relaytest.KindOffline)); err != nil {
		t.Fatal(err)
	}
	server.CLI("PUBLISH", "order:7", "hi")
	options := []string{"--channel", "order:7", "--relay", "http://" + relay.AdminAddr()}
	wantWhy(t, before, options, why.NoLink, "no link to Redis")
	proxy.Refuse(false)
	if _, err := client.Await(t.Context(), relaytest.Is(relaytest.KindGap)); err != nil {
		t.Fatal(err)
	}
	wantWhy(t, before, options, why.NoLink, "no link to Redis")
}

// TestWhyAfterKill: the file of a relay that was killed answers, also while the
// next relay uses it.
func TestWhyAfterKill(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	settings, path := boxFile(t, openSettings(server, nil))
	relay := start(t, settings)
	client := listen(t, relay, "order:7")
	session := sessionOf(t, client)
	before := time.Now()
	server.CLI("PUBLISH", "order:7", "hi")
	hears(t, client, 1)
	relay.Kill()
	server.CLI("PUBLISH", "order:7", "too late")
	options := []string{"--channel", "order:7", "--file", path}
	bySession := append(slices.Clone(options), "--session", session)
	wantWhy(t, before, bySession, why.Unconfirmed, "killed")
	start(t, settings)
	wantWhy(t, before, bySession, why.Unconfirmed, "killed")
	wantWhy(t, before, append(options, "--user", "42"), why.NotThere, "had no connection")
}

// TestWhyForgotten: the records do not reach back so far.
func TestWhyForgotten(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, map[string]string{"SIDECAST_BLACKBOX_BYTES": "1MiB"})
	client := listen(t, relay, "order:7")
	before := time.Now()
	server.CLI("PUBLISH", "order:7", "hi")
	hears(t, client, 1)
	const other = 300_000
	for range 10 {
		server.CLI("EVAL", fmt.Sprintf("for i = 1, %d do redis.call('PUBLISH', 'order:8', 'x') end", other/10), "0")
	}
	awaitMetric(t, relay, "sidecast_redis_messages_total", func(n float64) bool { return n >= other })
	wantWhy(t, before, []string{"--channel", "order:7", "--relay", "http://" + relay.AdminAddr()}, why.Forgotten, "SIDECAST_BLACKBOX_BYTES")
}

// TestWhyOff: a relay without records says how to keep some.
func TestWhyOff(t *testing.T) {
	t.Parallel()
	relay := start(t, map[string]string{"SIDECAST_BLACKBOX_BYTES": "0"})
	out, code := ask(t, time.Now(), "--channel", "chat", "--relay", "http://"+relay.AdminAddr())
	if code != 1 || !strings.Contains(out, "unset SIDECAST_BLACKBOX_BYTES") {
		t.Errorf("exit code %d, %s", code, out)
	}
}
