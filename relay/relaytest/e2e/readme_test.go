package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

// root is the directory of the README, in which its commands are meant to be run.
const root = "../../.."

// A fence is a fenced snippet of the README: what stands behind the backticks, and its text.
type fence struct{ language, text string }

// fences returns the snippets of the README.
func fences(t testing.TB) (list []fence) {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(readme)) {
		language, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && !inside:
			list = append(list, fence{language: strings.TrimSpace(language)})
			inside = true
		case isFence:
			inside = false
		case inside:
			list[len(list)-1].text += line
		}
	}
	return list
}

// snippet returns the text of the README's only snippet of a language that holds part.
func snippet(t testing.TB, language, part string) string {
	t.Helper()
	var found []string
	for _, f := range fences(t) {
		if f.language == language && strings.Contains(f.text, part) {
			found = append(found, f.text)
		}
	}
	if len(found) != 1 {
		t.Fatalf("the README has %d snippets of %q with %q in them, want one", len(found), language, part)
	}
	return found[0]
}

// executors run the snippets: each the one of its language that holds its part.
var executors = []struct {
	language, part string
	run            func(t *testing.T, text string)
}{
	{"sh", "go run .\n", runsDevelopment},
	{"sh", "go run . publish", publishesFromShell},
	{"php", "->publish('chat'", publishesFromPHP},
	{"php", "->xAdd(", addsFromPHP},
	{"php", "->eval(", addsFromPHP},
	{"html", "event.target.value", showsPage},
	{"html", "frame.recovered", showsReturning},
	{"sh", "go test", tests},
	{"sh", "SIDECAST_REDIS_URL=", runsWithRedis},
	{"", "ACL SETUSER relay on", grants},
	{"", "ACL SETUSER relay %R~", grantsStreams},
}

// TestReadmeSnippets: what the README tells people to type does what it says.
func TestReadmeSnippets(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "sh", "dash")
	ran := make(map[fence]bool)
	for _, e := range executors {
		text := snippet(t, e.language, e.part)
		ran[fence{e.language, text}] = true
		t.Run(e.language+" "+e.part, func(t *testing.T) { e.run(t, text) })
	}
	for _, f := range fences(t) {
		if !ran[f] {
			t.Errorf("nothing runs this snippet of the README (%s):\n%s", f.language, f.text)
		}
	}
}

// A shell runs what a person types, with the binary where a person would have installed it, or would have built it from
// the module.
type shell struct {
	t    testing.TB
	path string   // PATH
	env  []string // without PATH
	log  string   // the file that everything is written to
	pid  string   // the file that holds the number of the relay's process
}

// newShell returns a shell with these settings. Whatever listens does so on free ports.
func newShell(t testing.TB, settings map[string]string) *shell {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	bin, dir := t.TempDir(), t.TempDir()
	s := &shell{t: t, log: filepath.Join(dir, "log"), pid: filepath.Join(dir, "pid")}
	// A snippet does not say how a relay ends: its process has to be found.
	executable(t, filepath.Join(bin, "sidecast"), fmt.Sprintf("[ $# -gt 0 ] || echo $$ >'%s'\nexec '%s' \"$@\"\n", s.pid, relaytest.Build(t)))
	// go run would build what is built already, and go test would run this test.
	executable(t, filepath.Join(bin, "go"), fmt.Sprintf(
		"case \"$1 $2\" in\n'run .') shift 2; exec sidecast \"$@\" ;;\n'test ./...') exec '%s' list \"$2\" ;;\nesac\nexit 9\n", goTool))
	s.path = bin + string(os.PathListSeparator) + os.Getenv("PATH")
	s.env = append(environment(settings), "XDG_CACHE_HOME="+dir, "PATH="+s.path)
	for _, variable := range []string{"SIDECAST_LISTEN", "SIDECAST_ADMIN_LISTEN"} {
		s.env = append(s.env, variable+"=127.0.0.1:0")
	}
	return s
}

func executable(t testing.TB, path, script string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
}

func (s *shell) command(text string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", text)
	cmd.Dir, cmd.Env = root, s.env
	return cmd
}

// run runs commands to their end and returns what they print.
func (s *shell) run(text string) string {
	s.t.Helper()
	out, err := s.command(text).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", text, err, out)
	}
	return string(out)
}

// start runs a command that serves until the test ends, and returns the URL of the relay's WebSocket.
func (s *shell) start(text string) (url string) {
	s.t.Helper()
	log, err := os.Create(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := s.command(text)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.stop(cmd) })
	s.await(`"msg":"redis link is live"`)
	return "ws://" + s.await(`"msg":"listening","addr":"([^"]+)"`) + "/ws"
}

// await waits for a line of the log and returns what the expression found in it.
func (s *shell) await(expression string) string {
	s.t.Helper()
	found, err := awaitLine(s.log, expression)
	if err != nil {
		s.t.Fatal(err)
	}
	return found[len(found)-1]
}

// stop interrupts the relay, which has to end well, and have had nothing to complain of.
func (s *shell) stop(cmd *exec.Cmd) {
	text, err := os.ReadFile(s.pid)
	pid, notNumber := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || notNumber != nil {
		_ = cmd.Process.Kill()
		s.t.Errorf("no relay runs: %v, %v", err, notNumber)
	} else if relay, err := os.FindProcess(pid); err != nil || relay.Signal(syscall.SIGINT) != nil {
		s.t.Errorf("the relay has ended: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		s.t.Errorf("the command ended with %v", err)
	}
	log, err := os.ReadFile(s.log)
	for _, sign := range []string{`"level":"WARN"`, `"level":"ERROR"`, "warning", "panic: "} {
		if err != nil || strings.Contains(string(log), sign) {
			s.t.Errorf("the relay complains (%v):\n%s", err, log)
		}
	}
}

// development runs the relay that the README begins with, and returns with it a client that listens to chat.
func development(t testing.TB) (*shell, *relaytest.Client, string) {
	t.Helper()
	s := newShell(t, nil)
	url := s.start(snippet(t, "sh", "go run .\n"))
	client := dial(t, &relaytest.Dialer{URL: url})
	if err := client.Subscribe(t.Context(), "chat"); err != nil {
		t.Fatal(err)
	}
	return s, client, url
}

// redisPort returns where the Redis in memory listens.
func (s *shell) redisPort() string {
	s.t.Helper()
	return s.await(`redis-cli -p (\d+) `)
}

func runsDevelopment(t *testing.T, _ string) {
	s, _, url := development(t)
	page := s.await(`(http://\S+/)$`)
	if host := strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws"); page != "http://"+host+"/" {
		t.Errorf("the demo page is said to be at %s, and the relay is at %s", page, host)
	}
	if body := get(t, page); !strings.Contains(body, "<title>") {
		t.Errorf("the demo page is %q", body)
	}
}

func publishesFromShell(t *testing.T, text string) {
	s, client, _ := development(t)
	s.run(text)
	if heard := hears(t, client, 1)[0].Data; heard != "hello" {
		t.Errorf("a client heard %q", heard)
	}
}

func publishesFromPHP(t *testing.T, text string) {
	requirePHP(t)
	s, client, _ := development(t)
	script := strings.Replace(text, "6379", s.redisPort(), 1)
	if script == text && s.redisPort() != "6379" {
		t.Fatalf("the snippet does not connect to 6379:\n%s", text)
	}
	cmd := exec.Command("php")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("php: %v\n%s", err, out)
	}
	if heard := hears(t, client, 1)[0].Data; heard != "hello from PHP" {
		t.Errorf("a client heard %q", heard)
	}
}

func showsPage(t *testing.T, text string) {
	s, client, url := development(t)
	ctx := browser.Start(t)
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws")
	page := chatPages[1]
	tab := open(ctx, t, "file://"+file(t, onPort(t, text, "ws://localhost:8080", addr)))
	s.run("sidecast publish chat '<b>from</b> the shell'")
	browser.Await(tab, t, page.lines+`[0] === "<b>from</b> the shell"`)
	say(tab, t, page, "from the page")
	browser.Await(tab, t, page.lines+`[1] === "from the page"`)
	if heard := hears(t, client, 2)[1].Data; heard != "from the page" {
		t.Errorf("a client heard %q", heard)
	}
}

// tests cannot run the tests that it is one of: it sees that they are found.
func tests(t *testing.T, text string) {
	found := newShell(t, nil).run(text)
	for _, name := range []string{"sidecast\n", "sidecast/relay/relaytest/e2e\n"} {
		if !strings.Contains(found, name) {
			t.Errorf("%q is not among the packages:\n%s", name, found)
		}
	}
}

func runsWithRedis(t *testing.T, text string) {
	server := redistest.Start(t)
	url := newShell(t, nil).start(onPort(t, text, "redis://127.0.0.1:6379", server.Addr))
	wantOpen(t, url, server)
}

// wantOpen makes sure that a relay opens what the README's settings say, and nothing else.
func wantOpen(t testing.TB, url string, server *redistest.Server) {
	t.Helper()
	client := dial(t, &relaytest.Dialer{URL: url})
	if err := client.Subscribe(t.Context(), "chat:42", "news"); err != nil {
		t.Fatal(err)
	}
	for _, channel := range []string{"chat:42", "news"} {
		server.CLI("PUBLISH", channel, "on "+channel)
	}
	for i, channel := range []string{"chat:42", "news"} {
		if heard := hears(t, client, 2)[i]; heard.Channel != channel || heard.Data != "on "+channel {
			t.Errorf("heard %v", heard)
		}
	}
	if err := client.Subscribe(t.Context(), "other"); err == nil {
		t.Error("what is not relayed is open")
	}
	if _, err := client.Publish(t.Context(), "chat:42", []byte("x")); err == nil {
		t.Error("a browser may publish")
	}
}

func grants(t *testing.T, text string) {
	redistest.Require(t, "redis-cli", "redis-tools")
	server := redistest.Start(t)
	cli := exec.CommandContext(t.Context(), "redis-cli", "-e", "-p", server.Port())
	cli.Stdin = strings.NewReader(text) // as one who pastes it
	if out, err := cli.CombinedOutput(); err != nil || string(out) != "OK\n" {
		t.Fatalf("redis-cli: %v\n%s", err, out)
	}
	as := map[string]string{"SIDECAST_REDIS_USERNAME": "relay", "SIDECAST_REDIS_PASSWORD": "password"}
	s := newShell(t, as)
	serving := onPort(t, snippet(t, "sh", "SIDECAST_REDIS_URL="), "redis://127.0.0.1:6379", server.Addr)
	url := s.start(serving)
	wantOpen(t, url, server)
	if who := server.CLI("CLIENT", "LIST"); !strings.Contains(who, " user=relay ") {
		t.Errorf("the relay is not the user:\n%s", who)
	}
	findings := s.run(strings.TrimSpace(serving) + " check\n")
	for line := range strings.Lines(findings) {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("sidecast check: %s", line)
		}
	}

	// What browsers publish goes the same way.
	relay := relaytest.Start(t, with(with(openSettings(server, as), "SIDECAST_CHANNELS", "chat:*,news"), "SIDECAST_LOG_FORMAT", "json"))
	relay.AwaitReady()
	client := listen(t, relay, "news")
	if _, err := client.Publish(t.Context(), "news", []byte("from a browser")); err != nil {
		t.Errorf("publishing: %v", err)
	}
	if heard := hears(t, client, 1)[0].Data; heard != "from a browser" {
		t.Errorf("a client heard %q", heard)
	}
	awaitMetric(t, relay, "sidecast_marker_round_trip_seconds_count", func(n float64) bool { return n > 0 })
	if strings.Contains(relay.Log(), `"level":"WARN"`) {
		t.Errorf("the relay complains of what it may not do:\n%s", relay.Log())
	}
}
