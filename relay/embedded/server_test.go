package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/redistest"
)

// timeout bounds every wait of these tests.
const timeout = 20 * time.Second

func start(t *testing.T) *Server {
	t.Helper()
	s, err := Start("127.0.0.1:0", slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, s *Server, protocol int) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: protocol, MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// dial returns a raw connection, for requests that no client library sends.
func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		t.Fatal(err)
	}
	return c
}

// request encodes a command as an array of bulk strings.
func request(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.String()
}

// subscribe returns after Redis has confirmed all subscriptions.
func subscribe(t *testing.T, c *redis.Client, channel string, patterns ...string) *redis.PubSub {
	t.Helper()
	sub := c.Subscribe(t.Context(), channel)
	t.Cleanup(func() { _ = sub.Close() })
	if len(patterns) > 0 {
		if err := sub.PSubscribe(t.Context(), patterns...); err != nil {
			t.Fatal(err)
		}
	}
	for range 1 + len(patterns) {
		if message, err := sub.ReceiveTimeout(t.Context(), timeout); err != nil {
			t.Fatalf("subscribing: %v, %v", message, err)
		}
	}
	return sub
}

// receive returns the next message.
func receive(t *testing.T, sub *redis.PubSub) *redis.Message {
	t.Helper()
	got, err := sub.ReceiveTimeout(t.Context(), timeout)
	if err != nil {
		t.Fatal(err)
	}
	message, ok := got.(*redis.Message)
	if !ok {
		t.Fatalf("got %v, want a message", got)
	}
	return message
}

func TestGoRedis(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			c := client(t, start(t), protocol)
			sub := subscribe(t, c, "exact", "chat:*")
			for _, channel := range []string{"exact", "chat:42"} {
				payload := "<hello> \x00\xff to " + channel
				if n, err := c.Publish(t.Context(), channel, payload).Result(); n != 1 || err != nil {
					t.Fatalf("PUBLISH %s = %d, %v", channel, n, err)
				}
				if m := receive(t, sub); m.Channel != channel || m.Payload != payload {
					t.Errorf("received %v", m)
				}
			}
			if err := sub.Ping(t.Context(), "still there"); err != nil {
				t.Fatal(err)
			}
			if pong, err := sub.ReceiveTimeout(t.Context(), timeout); err != nil {
				t.Errorf("PING while subscribed = %v, %v", pong, err)
			}
		})
	}
}

// The script in the README appends an entry and publishes in one step.
func TestScript(t *testing.T) {
	c := client(t, start(t), 2)
	sub := subscribe(t, c, "order:7")
	const script = `redis.call('XADD', KEYS[1], '*', 'data', ARGV[1]) return redis.call('PUBLISH', KEYS[1], ARGV[1])`
	if n, err := c.Eval(t.Context(), script, []string{"order:7"}, "paid").Int(); n != 1 || err != nil {
		t.Fatalf("EVAL = %d, %v", n, err)
	}
	if m := receive(t, sub); m.Payload != "paid" {
		t.Errorf("received %v", m)
	}
	if n, err := c.XLen(t.Context(), "order:7").Result(); n != 1 || err != nil {
		t.Errorf("XLEN = %d, %v", n, err)
	}
}

// Keys expire by the clock. Without ClockTTL, miniredis expires a key only when
// a test advances its time.
func TestExpiry(t *testing.T) {
	c := client(t, start(t), 2)
	if err := c.Set(t.Context(), "key", "value", 20*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(timeout)
	for {
		err := c.Get(t.Context(), "key").Err()
		if errors.Is(err, redis.Nil) {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the key is still there: %v", err)
		}
	}
}

// redis-cli publishes in both modes: with the command as arguments, and
// interactively. In interactive mode it sends COMMAND DOCS before anything
// else.
func TestRedisCLI(t *testing.T) {
	redistest.Require(t, "redis-cli", "redis-tools")
	s := start(t)
	sub := subscribe(t, client(t, s, 2), "chat")
	_, port, _ := net.SplitHostPort(s.Addr())
	for _, tt := range []struct {
		args  []string
		stdin string
	}{
		{[]string{"-p", port, "publish", "chat", "hello"}, ""},
		{[]string{"-3", "-p", port, "publish", "chat", "hello"}, ""},
		{[]string{"-p", port}, "publish chat hello\n"},
		{[]string{"-3", "-p", port}, "publish chat hello\n"},
	} {
		cli := exec.CommandContext(t.Context(), "redis-cli", tt.args...)
		cli.Stdin = strings.NewReader(tt.stdin)
		out, err := cli.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "1" {
			t.Errorf("redis-cli %q < %q = %q, %v", tt.args, tt.stdin, out, err)
			continue
		}
		if m := receive(t, sub); m.Payload != "hello" {
			t.Errorf("received %v", m)
		}
	}
}

// A subscriber that never reads is closed. PUBLISH continues to work, and other
// subscribers lose no messages.
func TestStuckSubscriber(t *testing.T) {
	s := start(t)
	stuck := dial(t, s)
	if _, err := io.WriteString(stuck, request("SUBSCRIBE", "chat")); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(io.LimitReader(stuck, 4)).ReadString('\n'); err != nil || line != "*3\r\n" {
		t.Fatalf("SUBSCRIBE answered %q, %v", line, err)
	}

	c := client(t, s, 2)
	sub := subscribe(t, c, "chat")
	payload := strings.Repeat("x", 1<<20)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for sent := 1; ; sent++ {
		n, err := c.Publish(ctx, "chat", payload).Result()
		if err != nil {
			t.Fatalf("publishing message %d: %v", sent, err)
		}
		if m := receive(t, sub); m.Payload != payload {
			t.Fatalf("message %d has another payload", sent)
		}
		if n == 1 {
			return
		}
	}
}

// If several patterns of one subscriber match a channel, the subscriber
// receives the message once. This differs from Redis, as the package
// documentation says.
func TestOnePatternPerSubscriber(t *testing.T) {
	c := client(t, start(t), 2)
	sub := subscribe(t, c, "end", "chat:*", "chat:4*")
	for _, channel := range []string{"chat:42", "end"} {
		if err := c.Publish(t.Context(), channel, channel).Err(); err != nil {
			t.Fatal(err)
		}
		if m := receive(t, sub); m.Channel != channel {
			t.Errorf("received %v", m)
		}
	}
}

// Requests that would crash miniredis are rejected, and the server still
// answers.
func TestHostileRequests(t *testing.T) {
	tests := []struct{ name, request, answer string }{
		{"no arguments at all", "*0\r\n", ""},
		{"a null array", "*-1\r\n", ""},
		{"an argument of negative length", "*1\r\n$-9\r\n", ""},
		{"an argument whose length overflows", "*1\r\n$9223372036854775807\r\n", ""},
		{"an HTTP request from a web page", "POST / HTTP/1.1\r\nHost: 127.0.0.1:6379\r\n\r\n*1\r\n$4\r\nPING\r\n", ""},
		{"a pattern with a reversed class", request("KEYS", "[z-a]"), "-ERR"},
		{"a pattern that is not UTF-8", request("PSUBSCRIBE", "\xff"), "-ERR"},
		{"a pattern that ends its quotation", request("PUBSUB", "CHANNELS", `\\E(`), "-ERR"},
		{"a pattern of SCAN", request("scan", "0", "match", "[z-a]"), "-ERR"},
		{"a pattern in a script", request("EVAL", "return redis.call('KEYS', '[z-a]')", "0"), "-"},
	}
	s := start(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, s)
			if _, err := io.WriteString(c, tt.request); err != nil {
				t.Fatal(err)
			}
			if tt.answer == "" {
				// If unread bytes remain, closing may send a reset.
				if got, err := io.ReadAll(c); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("answered %q, %v; want a closed connection", got, err)
				}
			} else if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, tt.answer) {
				t.Errorf("answered %q, %v; want %s", line, err, tt.answer)
			}
			if err := client(t, s, 2).Ping(t.Context()).Err(); err != nil {
				t.Fatalf("the server no longer answers: %v", err)
			}
		})
	}
}

// Binary keys and valid patterns are accepted.
func TestValidPatterns(t *testing.T) {
	c := client(t, start(t), 2)
	if err := c.HSet(t.Context(), "\xff", "field", "value").Err(); err != nil {
		t.Fatal(err)
	}
	if fields, _, err := c.HScan(t.Context(), "\xff", 0, "fi[a-z]*", 10).Result(); len(fields) != 2 || err != nil {
		t.Errorf("HSCAN = %q, %v", fields, err)
	}
	if keys, err := c.Keys(t.Context(), `[^a-f]*`).Result(); len(keys) != 1 || err != nil {
		t.Errorf("KEYS = %q, %v", keys, err)
	}
}

// Close ends connections in every state, and a second Close does nothing.
func TestClose(t *testing.T) {
	s := start(t)
	connections := map[string]net.Conn{
		"idle":       dial(t, s),
		"subscribed": dial(t, s),
		"blocked":    dial(t, s),
		"incomplete": dial(t, s),
	}
	for name, request := range map[string]string{
		"subscribed": request("SUBSCRIBE", "chat"),
		"blocked":    request("BLPOP", "list", "0"),
		"incomplete": "*2\r\n$4\r\nPI",
	} {
		if _, err := io.WriteString(connections[name], request); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s.Close()
	for name, c := range connections {
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the %s connection is still open", name)
		}
	}
	if c, err := net.Dial("tcp", s.Addr()); err == nil {
		_ = c.Close()
		t.Error("the port is still open")
	}
}
