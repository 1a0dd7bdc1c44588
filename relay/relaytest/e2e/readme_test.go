package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sidecast/relay/embedded"
	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

// root is the repository, in which the commands of the documents are meant to
// be run.
const root = "../../.."

// documents are the files whose snippets are executed: each snippet of each of
// them.
var documents = []string{
	"README.md", cookbook, "relay/source/README.md", "relay/protocol/README.md", "relay/admin/README.md",
}

// cookbook is the document whose snippets work together with the others under
// the same heading.
const cookbook = "relay/README.md"

// A fence is a fenced snippet of a document: its language and its text, and
// the document and the heading above it.
type fence struct{ language, text, document, heading string }

// fences returns the snippets of all documents.
func fences(t testing.TB) (list []fence) {
	t.Helper()
	for _, name := range documents {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		inside, heading := false, ""
		for line := range strings.Lines(string(text)) {
			language, isFence := strings.CutPrefix(line, "```")
			switch {
			case !inside && strings.HasPrefix(line, "#"):
				heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
			case isFence && !inside:
				list = append(list, fence{language: strings.TrimSpace(language), document: name, heading: heading})
				inside = true
			case isFence:
				inside = false
			case inside:
				list[len(list)-1].text += line
			}
		}
	}
	return list
}

// snippet returns the text of the only snippet of a language that contains
// part, outside the cookbook.
func snippet(t testing.TB, language, part string) string {
	t.Helper()
	var found []string
	for _, f := range fences(t) {
		if f.document != cookbook && f.language == language && strings.Contains(f.text, part) {
			found = append(found, f.text)
		}
	}
	if len(found) != 1 {
		t.Fatalf("the documents have %d snippets of %q with %q in them, want one", len(found), language, part)
	}
	return found[0]
}

// Parts by which the snippets are found that several tests need.
const (
	startsDevelopment = "go run . #"
	connectsPHP       = "hello from PHP"
	ownRedis          = "SIDECAST_REDIS_URL="
	baseRights        = "ACL SETUSER relay on"
	chatsPage         = "event.target.value"
	clientPage        = "last: 20"
	changesRow        = "UPDATE orders"
	rendersRows       = "xRevRange"
	answersJSON       = "application/json"
	loadsState        = "stock.php"
)

// executors run the snippets: each the one of its language that contains its
// part.
var executors = []struct {
	language, part string
	run            func(t *testing.T, text string)
}{
	{"sh", startsDevelopment, runsDevelopment},
	{"sh", "go run . publish", publishesFromShell},
	{"php", connectsPHP, publishesFromPHP},
	{"html", chatsPage, showsPage},
	{"sh", "docker compose", namesComposeFile},
	{"sh", "go test", findsTests},
	{"sh", ownRedis, runsWithRedis},
	{"sh", "sidecast why", saysWhy},
	{"sh", "sidecast explain", explains},
	{"php", "'paid'", addsFromPHP("paid")},
	{"php", rendersRows, rendersWithoutRace},
	{"php", changesRow, runsAbove},
	{"php", answersJSON, loadsWithoutRace},
	{"html", loadsState, runsAbove},
	{"php", "->eval(", addsFromPHP("sent")},
	{"html", clientPage, showsResumed},
	{"html", "last=1", showsNewestPrice},
	{"html", "new EventSource", showsStream},
	{"sh", "curl --fail", publishesWithCurl},
	{"php", "stream_context_create", publishesOverHTTP},
	{"", baseRights, grants},
	{"", "ACL SETUSER relay %R~", grantsStreams},
}

// runsAbove stands for a snippet that the executor above it runs, too.
func runsAbove(*testing.T, string) {}

// TestReadmeSnippets: each snippet of the documents works as the text describes.
func TestReadmeSnippets(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "sh", "dash")
	ran := make(map[string]bool)
	for _, e := range executors {
		text := snippet(t, e.language, e.part)
		ran[text] = true
		t.Run(e.language+" "+e.part, func(t *testing.T) { e.run(t, text) })
	}
	for _, f := range fences(t) {
		if !ran[f.text] && f.language != "mermaid" && f.document != cookbook {
			t.Errorf("no test runs this snippet (%s):\n%s", f.language, f.text)
		}
	}
}

// saysWhy asks a relay in development mode about a message that nobody received.
func saysWhy(t *testing.T, text string) {
	s := newShell(t, nil)
	s.start("sidecast")
	s.run("sidecast publish order:7 hi")
	out := s.run("unset SIDECAST_ADMIN_LISTEN; " + strings.Replace(text, "10:42:13", "$(date +%T)", 1))
	if !strings.Contains(out, "nobody was subscribed") {
		t.Errorf("it prints\n%s", out)
	}
}

// explains asks a relay in development mode about a channel.
func explains(t *testing.T, text string) {
	s := newShell(t, nil)
	s.start("sidecast")
	if out := s.run("unset SIDECAST_ADMIN_LISTEN; " + text); !strings.Contains(out, "SIDECAST_CHANNELS") {
		t.Errorf("it prints\n%s", out)
	}
}

// A shell runs commands as a user types them. Its PATH begins with the binary
// sidecast, and with a program go that runs that binary, too.
type shell struct {
	t   testing.TB
	env []string
	log string // the file that receives all output
	pid string // the file that contains the process id of the relay
}

// newShell returns a shell with these settings. The relay listens on free
// ports.
func newShell(t testing.TB, settings map[string]string) *shell {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	bin, dir := t.TempDir(), t.TempDir()
	s := &shell{t: t, log: filepath.Join(dir, "log"), pid: filepath.Join(dir, "pid")}
	// The test has to find the process of the relay to end it.
	executable(t, filepath.Join(bin, "sidecast"), fmt.Sprintf(
		"[ $# -gt 0 ] || echo $$ >'%s'\nexec '%s' \"$@\"\n", s.pid, relaytest.Build(t)))
	// go run would build the binary again, and go test would run this test
	// again.
	executable(t, filepath.Join(bin, "go"), fmt.Sprintf(
		"case \"$1 $2\" in\n'run .') shift 2; exec sidecast \"$@\" ;;\n"+
			"'test ./...') exec '%s' list \"$2\" ;;\nesac\nexit 9\n", goTool))
	path := bin + string(os.PathListSeparator) + os.Getenv("PATH")
	s.env = append(environment(settings), "XDG_CACHE_HOME="+dir, "PATH="+path)
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

// run runs commands to their end and returns their output.
func (s *shell) run(text string) string {
	s.t.Helper()
	out, err := s.command(text).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", text, err, out)
	}
	return string(out)
}

// start runs a command that serves until the test ends, and returns the URL of
// the relay's WebSocket.
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
	s.await(`"msg":"redis connected"`)
	return "ws://" + s.await(`"msg":"listening","addr":"([^"]+)"`) + "/ws"
}

// await waits for a line of the log that matches, and returns the last group of
// the match.
func (s *shell) await(expression string) string {
	s.t.Helper()
	found, err := awaitLine(s.log, expression)
	if err != nil {
		s.t.Fatal(err)
	}
	return found[len(found)-1]
}

// stop interrupts the relay, which has to end with status 0 and must not have
// logged a warning or an error.
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
			s.t.Errorf("the relay logged a warning or an error (%v):\n%s", err, log)
		}
	}
}

// development runs the first command of the README, and returns a client that
// is subscribed to chat, and the URL of the relay.
func development(t testing.TB) (*shell, *relaytest.Client, string) {
	t.Helper()
	s := newShell(t, nil)
	url := s.start(snippet(t, "sh", startsDevelopment))
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
	if _, port, _ := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws")); page != "http://localhost:"+port+"/" {
		t.Errorf("the demo page is said to be at %s, and the relay is at %s", page, url)
	}
	if body := get(t, page); !strings.Contains(body, "<title>") {
		t.Errorf("the demo page is %q", body)
	}
}

func publishesFromShell(t *testing.T, text string) {
	s, client, _ := development(t)
	s.run(text)
	if heard := hears(t, client, 1)[0].Data; heard != "hello" {
		t.Errorf("a client received %q", heard)
	}
}

func publishesFromPHP(t *testing.T, text string) {
	s, client, _ := development(t)
	runPHP(t, text, s.redisPort(), "")
	if heard := hears(t, client, 1)[0].Data; heard != "hello from PHP" {
		t.Errorf("a client received %q", heard)
	}
}

// runPHP runs a snippet against the Redis on a port of this machine. A snippet
// that does not connect is given the connection of the README's first PHP
// snippet, and the code before, which defines its variables.
func runPHP(t *testing.T, text, port, before string) {
	t.Helper()
	requirePHP(t)
	if !strings.HasPrefix(text, "<?php") {
		connect, _, _ := strings.Cut(snippet(t, "php", connectsPHP), "$redis->publish")
		text = connect + before + "\n" + text
	}
	if !strings.Contains(text, ", 6379)") {
		t.Fatalf("the snippet does not connect to port 6379:\n%s", text)
	}
	cmd := exec.Command("php")
	cmd.Stdin = strings.NewReader(strings.Replace(text, ", 6379)", ", "+port+")", 1))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("php: %v\n%s", err, out)
	}
}

func showsPage(t *testing.T, text string) {
	s, client, url := development(t)
	ctx := browser.Start(t)
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws")
	page := chatPages[1]
	tab := open(ctx, t, "file://"+file(t, onPort(t, text, "localhost:8080", addr)))
	awaitSubscribed(tab, t, "chat")
	s.run("sidecast publish chat '<b>from</b> the shell'")
	browser.Await(tab, t, page.lines+`[0] === "<b>from</b> the shell"`)
	say(tab, t, page, "from the page")
	browser.Await(tab, t, page.lines+`[1] === "from the page"`)
	if heard := hears(t, client, 2)[1].Data; heard != "from the page" {
		t.Errorf("a client received %q", heard)
	}
}

// namesComposeFile does not run containers: the test checks only that the file
// exists and that the page is on the port that the README names. The tests of
// the chart check the rest of the file.
func namesComposeFile(t *testing.T, text string) {
	fields := strings.Fields(text)
	compose, err := os.ReadFile(filepath.Join(root, fields[slices.Index(fields, "-f")+1]))
	if err != nil || !strings.Contains(string(compose), `"127.0.0.1:8000:8000"`) {
		t.Errorf("the page is not on port 8000 (%v):\n%s", err, compose)
	}
}

// findsTests cannot run all tests, because it is one of them: it checks that
// the command finds them.
func findsTests(t *testing.T, text string) {
	found := newShell(t, nil).run(text)
	for _, name := range []string{"sidecast\n", "sidecast/relay/relaytest/e2e\n"} {
		if !strings.Contains(found, name) {
			t.Errorf("%q is not among the packages:\n%s", name, found)
		}
	}
}

// runsWithRedis: every page that works without settings works with the
// settings for a Redis of the reader's own, and other channels stay closed.
func runsWithRedis(t *testing.T, text string) {
	server := redistest.Start(t)
	command := onPort(t, text, "redis://127.0.0.1:6379", server.Addr)
	url := newShell(t, nil).start(command)
	wantOpen(t, url, server)
	wantPages(t, strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws"), server)
}

// TestPrintedCommand: the command that a relay prints if it finds a Redis on
// this machine keeps the same pages working.
func TestPrintedCommand(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "sh", "dash")
	server := redistest.Start(t)
	inMemory, err := embedded.Start(server.Addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	notice := inMemory.Notice()
	inMemory.Close()
	begin, end := strings.Index(notice, ownRedis), strings.Index(notice, "go run .")
	if begin < 0 || end < begin {
		t.Fatalf("no command in:\n%s", notice)
	}
	command := notice[begin : end+len("go run .")]
	if readme := snippet(t, "sh", ownRedis); command+"\n" != onPort(t, readme, "redis://127.0.0.1:6379", server.Addr) {
		t.Errorf("the relay prints\n%s\nand the README has\n%s", command, readme)
	}
	url := newShell(t, nil).start(command)
	wantPages(t, strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws"), server)
}

// wantPages checks that the pages of the tutorials, the page of the README's
// section about the client and the demo page receive what PHP publishes, and
// that they receive what their user sends.
func wantPages(t *testing.T, addr string, server *redistest.Server) {
	t.Helper()
	const items = `[...document.querySelectorAll("#log li")].map((e) => e.textContent)`
	client := chatPage{name: "the client's", lines: items, html: func(t testing.TB) string { return snippet(t, "html", clientPage) }}
	demo := chatPage{name: "the demo page", input: "#text", lines: `[...document.querySelectorAll("#messages li span")].map((e) => e.textContent)`}
	ctx := browser.Start(t)
	for _, page := range slices.Concat(chatPages, []chatPage{demo, client}) {
		_, port, _ := net.SplitHostPort(addr)
		url, ready := "http://localhost:"+port+"/", `document.getElementById("status").dataset.state === "live"`
		if page.html != nil {
			url, ready = serve(t, onPort(t, page.html(t), "localhost:8080", addr), "localhost"), `true`
		}
		tab := open(ctx, t, url)
		browser.Await(tab, t, ready)
		awaitSubscribed(tab, t, "chat")
		server.CLI("PUBLISH", "chat", "from PHP to "+page.name)
		browser.Await(tab, t, page.lines+fmt.Sprintf(`.at(-1) === %q`, "from PHP to "+page.name))
		if page.input != "" {
			say(tab, t, page, "from "+page.name)
			browser.Await(tab, t, page.lines+fmt.Sprintf(`.at(-1) === %q`, "from "+page.name))
		}
	}
}

// wantOpen checks that a relay opens the channels that the README's settings
// name, and no others.
func wantOpen(t testing.TB, url string, server *redistest.Server) {
	t.Helper()
	client := dial(t, &relaytest.Dialer{URL: url})
	if err := client.Subscribe(t.Context(), "chat:42", "chat"); err != nil {
		t.Fatal(err)
	}
	for _, channel := range []string{"chat:42", "chat"} {
		server.CLI("PUBLISH", channel, "on "+channel)
	}
	for i, channel := range []string{"chat:42", "chat"} {
		if heard := hears(t, client, 2)[i]; heard.Channel != channel || heard.Data != "on "+channel {
			t.Errorf("received %v", heard)
		}
	}
	if err := client.Subscribe(t.Context(), "other"); err == nil {
		t.Error("a client may subscribe to a channel that is not relayed")
	}
	if _, err := client.Publish(t.Context(), "chat:42", []byte("x")); err == nil {
		t.Error("a browser may publish to a channel that no setting opens")
	}
}
