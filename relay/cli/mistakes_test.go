package cli_test

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// A mistakeWorld is a Redis and a relay with which a mistake is made.
type mistakeWorld struct {
	*testing.T
	redis *redistest.Server
	relay *relaytest.Process
	env   map[string]string // of the relay, and of the commands
}

// command starts a command with the settings of the relay, and those in more. It
// asks this relay.
func (w *mistakeWorld) command(more map[string]string, args ...string) *relaytest.Process {
	w.Helper()
	env := maps.Clone(w.env)
	maps.Copy(env, more)
	return relaytest.Start(w, env, append([]string{args[0], "--relay", "http://" + w.relay.AdminAddr()}, args[1:]...)...)
}

// says waits until a command has printed these texts, each in one line.
func (w *mistakeWorld) says(p *relaytest.Process, wants ...string) {
	w.Helper()
	for _, want := range wants {
		p.AwaitLog(func(line string) bool { return strings.Contains(line, want) })
	}
}

// explains requires that explain prints these texts about a channel.
func (w *mistakeWorld) explains(channel string, wants ...string) {
	w.Helper()
	p := w.command(nil, "explain", channel)
	w.says(p, wants...)
	if code := p.Wait(); code != 0 {
		w.Errorf("explain exits with %d", code)
	}
}

// traces requires that trace prints these texts about a channel when the mistake
// is made, and at its end those that begin with "summary: ".
func (w *mistakeWorld) traces(channel string, mistake func(), wants ...string) {
	w.Helper()
	p := w.command(nil, "trace", channel)
	w.says(p, ": listening at ", "relay: following")
	mistake()
	atEnd := slices.IndexFunc(wants, func(want string) bool { return strings.HasPrefix(want, "summary: ") })
	if atEnd < 0 {
		atEnd = len(wants)
	}
	w.says(p, wants[:atEnd]...)
	p.Signal(os.Interrupt)
	for _, want := range wants[atEnd:] {
		w.says(p, strings.TrimPrefix(want, "summary: "))
	}
	if code := p.Wait(); code != 0 {
		w.Errorf("trace exits with %d", code)
	}
}

// php runs PHP code with $redis, which is connected as the default user.
func (w *mistakeWorld) php(code string) string {
	w.Helper()
	return w.phpAt(w.redis, code)
}

func (w *mistakeWorld) phpAt(server *redistest.Server, code string) string {
	w.Helper()
	if out, _ := exec.Command("php", "-m").Output(); !bytes.Contains(out, []byte("redis")) {
		redistest.Require(w, "php with phpredis", "php-redis")
	}
	cmd := exec.CommandContext(w.Context(), "php", "-d", "display_errors=1")
	cmd.Stdin = strings.NewReader("<?php $redis = new Redis(); $redis->connect('127.0.0.1', " + server.Port() + ");\n" + code)
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.Fatalf("php: %v\n%s", err, out)
	}
	return string(out)
}

// joins connects a client and subscribes it. If it may not, that is no fault.
func (w *mistakeWorld) joins(channels ...string) {
	w.Helper()
	dialer := relaytest.Dialer{URL: w.relay.URL(), Protocol: relaytest.V1}
	client, err := dialer.Dial(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(client.Drop)
	_ = client.Subscribe(w.Context(), channels...)
}

// Each mistake by which messages do not arrive is made for real, and named by
// explain or trace.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		mistake  string
		settings string // of the relay, in addition
		acl      string // of the user relay, with which the relay connects; empty: the default user
		make     func(*mistakeWorld)
	}{
		{"a pattern that misses the name by one character", "", "", func(w *mistakeWorld) {
			w.php(`$redis->publish('chats:1', 'hello');`)
			w.explains("chats:1", `not relayed: `, `"chat:*" in SIDECAST_CHANNELS misses it by one character`, `use the name "chat:1"`)
		}},
		{"a page that listens to another name", "CHANNELS=chat*", "", func(w *mistakeWorld) {
			w.joins("chat-1")
			w.php(`$redis->publish('chat:1', 'hello');`)
			w.explains("chat:1", "nobody listens at this relay now (it has 1 client on other channels)",
				`"chat-1" differs by a separator: 1 client listening`)
			w.explains("chat-1", `"chat:1" differs by a separator: its messages come from Redis`)
		}},
		{"nobody listens", "", "", func(w *mistakeWorld) {
			w.traces("chat:1", func() { w.php(`$redis->publish('chat:1', 'hello');`) },
				"5 bytes arrive at Redis", "relayed, but nobody listens", "summary: 1 message arrived at Redis, 1 relayed, 0 clients listened")
			w.explains("chat:1", "nobody listens at this relay now", "the last message from Redis arrived ")
		}},
		{"every client is refused", "PUBLIC_CHANNELS=chat:lobby", "", func(w *mistakeWorld) {
			w.explains("chat:1", "open to nobody: ", `add "chat:1" to SIDECAST_PUBLIC_CHANNELS`)
			w.traces("chat:1", func() { w.joins("chat:1") }, "a client (v1) is refused: forbidden", "summary: 0 clients listened, 1 refused")
			w.explains("chat:1", "1 subscribe was refused (forbidden)")
		}},
		{"a page that does not log in", "PUBLIC_CHANNELS= JWT_SECRET=01234567890123456789012345678901", "", func(w *mistakeWorld) {
			w.traces("chat:1", func() { w.joins("chat:1") }, "a client (v1) is refused: unauthorized",
				"the channel is open to clients whose login grants it: SIDECAST_JWT_SECRET")
			w.explains("chat:1", "1 subscribe was refused (unauthorized)", "the client has to log in")
		}},
		{"a page that subscribes to a pattern", "", "", func(w *mistakeWorld) {
			w.joins("chat:*")
			w.explains("chat:*", "looks like a mistake", "a channel name is not a pattern: name each channel")
		}},
		{"a page that lists channels in one name", "", "", func(w *mistakeWorld) {
			w.joins("chat:1,chat:2")
			w.explains("chat:1,chat:2", "a comma does not separate channels")
		}},
		{"a page that adds a blank", "", "", func(w *mistakeWorld) {
			w.traces("chat:1", func() { w.joins("chat:1 ") }, `a client (v1) subscribes to "chat:1 ", which differs from "chat:1" by a blank`)
		}},
		{"Redis is down", "", "", func(w *mistakeWorld) {
			w.redis.Kill()
			w.relay.AwaitMessage("redis connection lost; messages published until it is back are lost and clients get a gap")
			w.explains("chat:1", "the relay has no connection to Redis at the moment")
		}},
		{"a prefix that phpredis adds", "", "", func(w *mistakeWorld) {
			w.traces("chat:1", func() { w.php(`$redis->setOption(Redis::OPT_PREFIX, 'shop_'); $redis->publish('chat:1', 'hello');`) },
				`a message arrives on "shop_chat:1": "chat:1" with the prefix "shop_"`, "set SIDECAST_CHANNEL_PREFIX=shop_")
		}},
		{"the prefix of Laravel on a private channel", "CHANNELS=private-* PUSHER_APP_ID=1 PUSHER_KEY=key PUSHER_SECRET=0123456789abcdef", "", func(w *mistakeWorld) {
			w.traces("private-chat", func() {
				w.php(`$redis->publish('laravel_database_private-chat', '{"event":"e","data":{},"socket":null}');`)
			}, "set SIDECAST_CHANNEL_PREFIX=laravel_database_")
		}},
		{"a prefix that nothing adds", "CHANNEL_PREFIX=shop_", "", func(w *mistakeWorld) {
			w.traces("chat:1", func() { w.php(`$redis->publish('chat:1', 'hello');`) },
				`a message arrives on "chat:1", without SIDECAST_CHANNEL_PREFIX: the relay expects "shop_chat:1"`)
		}},
		{"a client that uses the prefix", "CHANNEL_PREFIX=shop_", "", func(w *mistakeWorld) {
			w.joins("shop_chat:1")
			w.explains("shop_chat:1", `clients and settings use names without SIDECAST_CHANNEL_PREFIX: "chat:1"`)
		}},
		{"capital letters", "", "", func(w *mistakeWorld) {
			w.traces("chat:1", func() { w.php(`$redis->publish('Chat:1', 'hello');`) },
				`a message arrives on "Chat:1", which differs from "chat:1" by capital letters`, `summary: 0 messages arrived at Redis, 0 relayed, 0 clients listened, 1 on "Chat:1"`)
		}},
		{"another server", "", "", func(w *mistakeWorld) {
			other := redistest.Start(w)
			var theirs string
			w.traces("chat:1", func() {
				w.phpAt(other, `$redis->publish('chat:1', 'hello');`)
				theirs = w.phpAt(other, `echo $redis->info('server')['run_id'];`)
			}, `nothing has arrived on "chat:1", nor on any other channel, at `+w.redis.Addr, "it uses another server",
				"here run_id is "+w.php(`echo $redis->info('server')['run_id'];`))
			if theirs == w.php(`echo $redis->info('server')['run_id'];`) || theirs == "" {
				w.Errorf("the servers cannot be told apart: %q", theirs)
			}
		}},
		{"a replica of the same Redis, whose PUBLISH the master does not see", "", "", func(w *mistakeWorld) {
			replica := redistest.Start(w, "--replicaof", "127.0.0.1 "+w.redis.Port())
			w.traces("chat:1", func() { w.phpAt(replica, `$redis->publish('chat:1', 'hello');`) },
				`nothing has arrived on "chat:1"`, "it uses another server", "in PHP, echo $redis->info('server')['run_id']")
		}},
		{"a relay on another server", "", "", func(w *mistakeWorld) {
			other := redistest.Start(w)
			p := w.command(map[string]string{"SIDECAST_REDIS_URL": other.URL()}, "trace", "chat:1")
			w.says(p, ": listening at ", "relay: following")
			w.phpAt(other, `$redis->publish('chat:1', 'hello');`)
			w.says(p, "the relay has not received 1 message that arrived at Redis ("+other.Addr+")")
		}},
		{"a json_encode that fails", "", "", func(w *mistakeWorld) {
			w.joins("chat:1")
			w.traces("chat:1", func() { w.php(`$redis->publish('chat:1', json_encode(['text' => "caf\xe9"]));`) },
				"the payload is empty", "use JSON_THROW_ON_ERROR")
		}},
		{"an array that is not encoded", "", "", func(w *mistakeWorld) {
			w.traces("chat:1", func() { w.php(`@$redis->publish('chat:1', (string) ['text' => 'hello']);`) },
				"the payload is the word Array", "encode the array: json_encode($data)")
		}},
		{"an object that is serialized", "", "", func(w *mistakeWorld) {
			w.traces("chat:1", func() { w.php(`$redis->publish('chat:1', serialize(['text' => 'hello']));`) },
				"the payload is one of PHP's serializers", "publish JSON: json_encode($data)")
		}},
		{"a variable that is not set", "", "", func(w *mistakeWorld) {
			w.traces("chat:1", func() { w.php(`$redis->publish('chat:1', json_encode($undefined ?? null));`) }, "the payload is the word null")
		}},
		{"a payload that is too large", "MAX_PAYLOAD_BYTES=4KiB", "", func(w *mistakeWorld) {
			w.joins("chat:1")
			w.traces("chat:1", func() { w.php(`$redis->publish('chat:1', str_repeat('x', 5000));`) },
				"more than SIDECAST_MAX_PAYLOAD_BYTES (4096)", "too large: 1 client gets a gap in place of the message")
		}},
		{"a reserved name", "CHANNELS=*", "", func(w *mistakeWorld) {
			w.traces("sidecast:news", func() { w.php(`$redis->publish('sidecast:news', 'hello');`) }, `"sidecast:news" is a reserved name`)
		}},
		{"PUBLISH on a durable channel without XADD", "", "", func(w *mistakeWorld) {
			w.traces("order:1", func() { w.php(`$redis->publish('order:1', 'hello');`) },
				`a PUBLISH on the durable channel "order:1" without a new entry in its stream delivers nothing`, "run XADD order:1 '*' data PAYLOAD first",
				"summary: 1 PUBLISH without an entry")
		}},
		{"XADD in another database", "", "", func(w *mistakeWorld) {
			w.traces("order:1", func() {
				w.php(`$redis->select(3); $redis->xAdd('order:1', '*', ['data' => 'hello']); $redis->publish('order:1', '');`)
			}, `the stream "order:1" is in database 3, and the relay reads database 0`)
		}},
		{"XADD without PUBLISH", "", "", func(w *mistakeWorld) {
			w.traces("order:1", func() { w.php(`$redis->xAdd('order:1', '*', ['data' => 'hello']);`) },
				"is added to the stream", "no PUBLISH follows the entry", "after XADD, run PUBLISH order:1 ''")
		}},
		{"a stream that was deleted", "", "", func(w *mistakeWorld) {
			w.php(`$redis->xAdd('order:1', '*', ['data' => 'hello']); $redis->del('order:1');`)
			w.explains("order:1", `the stream "order:1" has no entry`)
		}},
		{"a key that is not a stream", "", "", func(w *mistakeWorld) {
			w.php(`$redis->set('order:1', 'hello');`)
			w.explains("order:1", "the stream cannot be read: ")
		}},
		{"a publisher without the right", "", "", func(w *mistakeWorld) {
			w.redis.CLI("acl", "setuser", "php", "on", ">secret", "resetchannels", "&other", "+@all", "~*")
			var seen string
			w.traces("chat:1", func() {
				seen = w.php(`$redis->auth(['php', 'secret']);
					try { var_dump($redis->publish('chat:1', 'hello')); echo $redis->getLastError(); } catch (RedisException $e) { echo $e->getMessage(); }`)
			}, "or Redis refuses its PUBLISH (NOPERM", "which only the application sees")
			if !strings.Contains(seen, "NOPERM") {
				w.Errorf("the application sees %s", seen)
			}
		}},
		{"a trace that may not listen to everything", "", "on >secret resetkeys resetchannels &chat:* &order:* &sidecast:* +@all", func(w *mistakeWorld) {
			w.traces("chat:1", func() {
				w.joins("chat:1")
				w.php(`$redis->publish('chat:1', 'hello');`)
			}, "the Redis user may not listen to everything", `to "chat:1" only`, "5 bytes arrive at Redis", "sent to 1 client (1 v1)")
		}},
		{"a relay without the right to the pattern", "", "on >secret resetkeys resetchannels &order:* &sidecast:* +@all", func(w *mistakeWorld) {
			w.explains("chat:1", "the relay has no connection to Redis at the moment")
			p := w.command(nil, "trace", "chat:1")
			w.says(p, `the Redis user may not subscribe to "chat:1"`, "grant it with ACL SETUSER <user> +subscribe +psubscribe &chat:*")
		}},
	} {
		t.Run(tt.mistake, func(t *testing.T) {
			t.Parallel()
			w := &mistakeWorld{T: t, redis: redistest.Start(t)}
			redistest.Require(t, "php", "php-cli")
			w.env = map[string]string{
				"SIDECAST_REDIS_URL": w.redis.URL(), "SIDECAST_CHANNELS": "chat:*,order:*", "SIDECAST_PUBLIC_CHANNELS": "*", "SIDECAST_DURABLE_CHANNELS": "order:*",
			}
			for setting := range strings.FieldsSeq(tt.settings) {
				name, value, _ := strings.Cut(setting, "=")
				w.env["SIDECAST_"+name] = value
			}
			if tt.acl != "" {
				w.redis.CLI(append([]string{"acl", "setuser", "relay"}, strings.Fields(tt.acl)...)...)
				w.env["SIDECAST_REDIS_USERNAME"], w.env["SIDECAST_REDIS_PASSWORD"] = "relay", "secret"
			}
			w.relay = relaytest.Start(t, w.env)
			if tt.acl == "" || strings.Contains(tt.acl, "&chat") {
				w.relay.AwaitReady()
			}
			tt.make(w)
		})
	}
}

// In a cluster, a trace hears what is published at any node, and reads a stream
// at its node.
func TestTraceCluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.StartCluster(t, 0)
	w := &mistakeWorld{T: t, env: map[string]string{
		"SIDECAST_REDIS_URL": nodes[0].URL(), "SIDECAST_REDIS_MODE": "cluster", "SIDECAST_CHANNELS": "chat:*",
		"SIDECAST_DURABLE_CHANNELS": "order:*", "SIDECAST_PUBLIC_CHANNELS": "*",
	}}
	w.relay = relaytest.Start(t, w.env)
	w.relay.AwaitReady()
	w.joins("chat:1", "order:1")
	w.traces("chat:1", func() {
		for _, node := range nodes {
			node.CLI("publish", "chat:1", "hello")
			node.CLI("publish", "Chat:1", "hello")
		}
	}, "5 bytes arrive at Redis", `a message arrives on "Chat:1"`, "sent to 1 client (1 v1)")
	w.traces("order:1", func() {
		nodes[0].CLI("-c", "xadd", "order:1", "*", "data", "hello")
		nodes[0].CLI("publish", "order:1", "")
	}, "is added to the stream", "a PUBLISH arrives at Redis", "sent to 1 client (1 v1)")
}
