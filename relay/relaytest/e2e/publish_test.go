package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

const publishToken = "a-token-to-publish"

// publishURL returns where a relay accepts messages for the channels.
func publishURL(relay *relaytest.Process, channels ...string) string {
	return "http://" + relay.AdminAddr() + "/publish?" + url.Values{"channel": channels}.Encode()
}

// post publishes over HTTP, and returns the status and the body of the answer.
func post(t testing.TB, url, body string, header ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+publishToken)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

// TestHTTPPublish: clients receive every message that curl sends without a
// changed byte, on a live and on a durable channel.
func TestHTTPPublish(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "curl", "curl")
	server := redistest.Start(t)
	relay := startDurable(t, server, map[string]string{"SIDECAST_PUBLISH_TOKEN": publishToken})
	client := listen(t, relay, "chat", "order:7")
	for _, body := range bodies {
		untilAccepted(t, "{\"published\":2}\n", func() *exec.Cmd {
			return withInput(exec.Command("curl", "-sS", "--fail-with-body", "-H", "Authorization: Bearer "+publishToken,
				"--data-binary", "@-", publishURL(relay, "chat", "order:7")), body.text)
		})
		for _, channel := range []string{"chat", "order:7"} {
			awaitNewest(t, client, channel, body.text)
		}
	}
	if status, answer := post(t, publishURL(relay, "chat"), strings.Repeat("x", 1<<20+1)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a byte more than 1 MiB: %d %s", status, answer)
	}
	if n := metric(t, relay, `sidecast_http_publishes_total{result="accepted"}`); n != float64(len(bodies)) {
		t.Errorf("%v requests were counted, want %d", n, len(bodies))
	}
}

// untilAccepted runs a command that publishes until its output is that of a
// success. Redis has a second for each message, which can be too short on a
// loaded machine.
func untilAccepted(t testing.TB, want string, command func() *exec.Cmd) {
	t.Helper()
	eventually(t, func() string {
		out, err := command().CombinedOutput()
		if err != nil && strings.Contains(string(out), "redis is unavailable") {
			return string(out)
		}
		if err != nil || string(out) != want {
			t.Fatalf("%v, %s", err, out)
		}
		return ""
	})
}

// awaitNewest waits until the newest message that the client has received on a
// channel is this one.
func awaitNewest(t testing.TB, client *relaytest.Client, channel, payload string) {
	t.Helper()
	eventually(t, func() string {
		if got := receivedOn(client, channel); len(got) == 0 || got[len(got)-1] != payload {
			return fmt.Sprintf("%d messages on %s, without %.40q at the end", len(got), channel, payload)
		}
		return ""
	})
}

// TestHTTPPublishRejected: a relay with real settings rejects the requests that
// it must, and Redis gets nothing of them.
func TestHTTPPublishRejected(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := start(t, map[string]string{
		"SIDECAST_REDIS_URL": server.URL(), "SIDECAST_CHANNELS": "chat,chat:*", "SIDECAST_DURABLE_CHANNELS": "order:*",
		"SIDECAST_PUBLIC_CHANNELS": "*", "SIDECAST_CHANNEL_PREFIX": "app:", "SIDECAST_PUBLISH_TOKEN": publishToken,
		"SIDECAST_ADMIN_TOKEN": "another-token-16",
	})
	const unpublished = "a message that nobody may receive"
	published := subscribeAll(t, server)
	hundred := channels("chat", 100)
	for _, tt := range []struct {
		name   string
		url    string
		header []string
		status int
	}{
		{"no token", publishURL(relay, "chat"), []string{"Authorization", ""}, 401},
		{"the admin's token", publishURL(relay, "chat"), []string{"Authorization", "Bearer another-token-16"}, 401},
		{"an origin", publishURL(relay, "chat"), []string{"Origin", "http://" + relay.AdminAddr()}, 403},
		{"no channel", publishURL(relay), nil, 400},
		{"a name with a line break", publishURL(relay, "chat:\n"), nil, 400},
		{"a name that is not UTF-8", publishURL(relay, "chat:\xff"), nil, 400},
		{"a name that is too long", publishURL(relay, "chat:"+strings.Repeat("x", 200)), nil, 400},
		{"a reserved name", publishURL(relay, "sidecast:control"), nil, 400},
		{"a name of Redis", publishURL(relay, "__keyspace@0__:x"), nil, 400},
		{"a name that no pattern matches", publishURL(relay, "app:chat"), nil, 422},
		{"101 channels", publishURL(relay, append(hundred, "chat")...), nil, 400},
		{"the public listener", "http://" + relay.Addr() + "/publish?channel=chat", nil, 404},
	} {
		if status, answer := post(t, tt.url, unpublished, tt.header...); status != tt.status || strings.Contains(answer, publishToken) {
			t.Errorf("%s: %d %s, want %d", tt.name, status, answer, tt.status)
		}
	}
	client := listen(t, relay, hundred...)
	eventually(t, func() string {
		if status, answer := post(t, publishURL(relay, hundred...), "accepted"); status != 200 || answer != "{\"published\":100}\n" {
			return fmt.Sprintf("100 channels: %d %s", status, answer)
		}
		return ""
	})
	for _, channel := range hundred {
		awaitNewest(t, client, channel, "accepted")
	}
	for _, m := range published(t) {
		if m.Payload == unpublished {
			t.Errorf("published on %q", m.Channel)
		}
	}
	if log := relay.Log(); strings.Contains(log, publishToken) || strings.Contains(log, "another-token-16") || strings.Contains(log, unpublished) {
		t.Error("the log contains a token or a message")
	}
}

// TestHTTPPublishWithoutRedis: a message is reported as published only if Redis
// has it, also if Redis hangs or refuses it.
func TestHTTPPublishWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, map[string]string{"SIDECAST_PUBLISH_TOKEN": publishToken})
	wantRefused := func(when string) {
		t.Helper()
		for _, channel := range []string{"chat", "order:7"} {
			if status, answer := post(t, publishURL(relay, channel), when); status != http.StatusServiceUnavailable {
				t.Errorf("%s, on %s: %d %s", when, channel, status, answer)
			}
		}
	}
	awaitAccepted := func(when string) {
		t.Helper()
		eventually(t, func() string {
			if status, answer := post(t, publishURL(relay, "chat", "order:7"), when); status != http.StatusOK {
				return fmt.Sprintf("%s: %d %s", when, status, answer)
			}
			return ""
		})
	}
	awaitAccepted("at first")
	server.Stop()
	wantRefused("Redis hangs")
	server.Cont()
	awaitAccepted("after the pause")

	server.CLI("SET", "order:8", "not a stream")
	eventually(t, func() string {
		if status, answer := post(t, publishURL(relay, "chat", "order:8"), "x"); status != 503 || !strings.Contains(answer, "published to 1 of 2") {
			return fmt.Sprintf("a key that is not a stream: %d %s", status, answer)
		}
		return ""
	})
	server.Kill()
	wantRefused("Redis is killed")
	server.Restart()
	awaitAccepted("after the restart")
}

// TestHTTPPublishFromPage: a page that knows the token cannot publish, neither
// one of another host nor one of the same machine.
func TestHTTPPublishFromPage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, map[string]string{"SIDECAST_PUBLISH_TOKEN": publishToken})
	published := subscribeAll(t, server)
	ctx := browser.Start(t)
	tab := open(ctx, t, serve(t, "<title>a page</title>", "localhost"))
	sameSite := strings.Replace(publishURL(relay, "chat"), "127.0.0.1", "localhost", 1)
	for i, options := range []string{
		`{method: "POST", body: "x", headers: {Authorization: "Bearer ` + publishToken + `"}}`,
		`{method: "POST", body: "x", mode: "no-cors", headers: {Authorization: "Bearer ` + publishToken + `"}}`,
		`{method: "POST", body: "x", mode: "no-cors"}`,
	} {
		for j, url := range []string{sameSite, publishURL(relay, "chat")} {
			done := fmt.Sprintf("window.done%d%d", i, j)
			browser.Eval[int](tab, t, fmt.Sprintf(
				`%[1]s = ""; fetch(%[2]q, %[3]s).then((r) => { %[1]s = "answered " + r.ok }, () => { %[1]s = "failed" }); 0`, done, url, options))
			browser.Await(tab, t, fmt.Sprintf(`%s !== "" && %[1]s !== "answered true"`, done))
		}
	}
	awaitMetric(t, relay, `sidecast_http_publishes_total{result="origin"}`, func(n float64) bool { return n >= 3 })
	for _, m := range published(t) {
		if m.Channel == "chat" {
			t.Errorf("a page published %q", m.Payload)
		}
	}
	browser.Forget(tab) // the console reports the requests that failed
}

// publishesWithCurl and publishesOverHTTP run a snippet against a relay in
// development mode.
func publishesWithCurl(t *testing.T, text string) {
	redistest.Require(t, "curl", "curl")
	s, client, addr := developmentWithToken(t)
	// -s: curl reports its progress because its output is no terminal.
	text = strings.Replace(onPort(t, text, "127.0.0.1:9190", addr), "curl ", "curl -s ", 1)
	untilAccepted(t, "{\"published\":1}\n", func() *exec.Cmd { return s.command(text) })
	awaitNewest(t, client, "chat", "hello")
}

func publishesOverHTTP(t *testing.T, text string) {
	redistest.Require(t, "php", "php-cli")
	s, client, addr := developmentWithToken(t)
	if err := client.Subscribe(t.Context(), "inbox:7", "inbox:8"); err != nil {
		t.Fatal(err)
	}
	run := func(addr string) string {
		php := exec.Command("php")
		php.Env, php.Stdin = s.env, strings.NewReader(onPort(t, text, "127.0.0.1:9190", addr))
		out, err := php.CombinedOutput()
		if err != nil {
			t.Fatalf("php: %v\n%s", err, out)
		}
		return string(out)
	}
	eventually(t, func() string { return run(addr) })
	for _, channel := range []string{"inbox:7", "inbox:8"} {
		awaitNewest(t, client, channel, `{"from":"Ada","text":"hi"}`)
	}
	if out := run(redistest.FreeAddr(t)); !strings.Contains(out, "not published") {
		t.Errorf("without a relay, php printed %q", out)
	}
}

// developmentWithToken is [development] with a token to publish. It returns the
// address of the admin listener.
func developmentWithToken(t testing.TB) (s *shell, client *relaytest.Client, addr string) {
	t.Helper()
	s = newShell(t, map[string]string{"SIDECAST_PUBLISH_TOKEN": publishToken})
	client = dial(t, &relaytest.Dialer{URL: s.start(snippet(t, "sh", startsDevelopment))})
	if err := client.Subscribe(t.Context(), "chat"); err != nil {
		t.Fatal(err)
	}
	return s, client, s.await(`"msg":"admin listening","addr":"([^"]+)"`)
}
