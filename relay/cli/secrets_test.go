package cli

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sidecast/relay/relaytest/redistest"
)

// TestNoSecretsInErrors uses a Redis that repeats the arguments of commands that
// it does not know, and URLs with a token or a password.
func TestNoSecretsInErrors(t *testing.T) {
	server := redistest.Start(t, "--rename-command", "AUTH", "", "--rename-command", "HELLO", "",
		"--rename-command", "PUBLISH", "", "--rename-command", "XADD", "")
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for name, value := range map[string]string{"CHANNELS": "chat", "DURABLE_CHANNELS": "order", "PUBLIC_CHANNELS": "*"} {
		t.Setenv("SIDECAST_"+name, value)
	}
	host := web.Listener.Addr().String()
	for _, tt := range []struct {
		url  string // of Redis
		args []string
		want string
	}{
		{"redis://relay:hunter2@" + server.Addr, []string{"publish", "chat", "x"}, "publishing to Redis: "},
		{"redis://relay:hunter2@" + server.Addr, []string{"publish", "order", "x"}, "adding to the stream: "},
		{server.URL(), []string{"publish", "chat", "hunter2"}, "unknown command"},
		{server.URL(), []string{"publish", "order", "hunter2"}, "unknown command"},
		{server.URL(), []string{"tail", "--url", "ws://user:hunter2@" + host + "/ws?token=hunter2", "chat"}, "ws://" + host + "/ws"},
		{server.URL(), []string{"tail", "--url", "http://user:hunter2@" + host + "/?token=hunter2", "chat"}, "write it like ws://"},
		{server.URL(), []string{"tail", "--url", "ws://user:hunter2@%zz/ws", "chat"}, "write it like ws://"},
	} {
		t.Setenv("SIDECAST_REDIS_URL", tt.url)
		code, out, errs := run(t, tt.args...)
		if code == exitOK || !strings.Contains(errs, tt.want) || strings.Contains(out+errs, "hunter2") {
			t.Errorf("%.9q: exit %d, %s%s", tt.args, code, out, errs)
		}
	}
}

// TestNoSecretsInEchoes uses servers that repeat everything that they receive,
// which are not Redis.
func TestNoSecretsInEchoes(t *testing.T) {
	const password = `s3cr"et\pass`
	for name, value := range map[string]string{
		"CHANNELS": "chat", "DURABLE_CHANNELS": "order", "PUBLIC_CHANNELS": "*", "REDIS_PASSWORD": password,
	} {
		t.Setenv("SIDECAST_"+name, value)
	}
	for _, begin := range []string{"", "?", "-ERR bad request: ", "-NOPERM bad request: ", "-MOVED 1 ", "-BUSY "} {
		t.Setenv("SIDECAST_REDIS_URL", "redis://side@"+echoServer(t, begin))
		for _, args := range [][]string{{"publish", "chat", "x"}, {"publish", "order", "x"}, {"check"}} {
			code, out, errs := run(t, args...)
			if code == exitOK || strings.Contains(out+errs, "s3cr") {
				t.Errorf("%q, %q: exit %d, %s%s", begin, args, code, out, errs)
			}
		}
	}
}

// echoServer repeats each request in one line after begin.
func echoServer(t *testing.T, begin string) (addr string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go echo(conn, begin)
		}
	}()
	return listener.Addr().String()
}

func echo(conn net.Conn, begin string) {
	defer conn.Close()
	received := make([]byte, 4<<10)
	for {
		n, err := conn.Read(received)
		if err != nil {
			return
		}
		answer := string(received[:n])
		if begin != "" {
			answer = begin + strings.ReplaceAll(answer, "\r\n", " ") + "\r\n"
		}
		if _, err := conn.Write([]byte(answer)); err != nil {
			return
		}
	}
}
