package cli

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// run runs a command and returns its exit code and what it wrote.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), Program{Version: "1.2.3", Commit: "abc", Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}, args)
	return code, out.String(), errs.String()
}

// Every command has a line in the overview that fits a terminal of 100 columns,
// and details of its own.
func TestHelp(t *testing.T) {
	code, overview, _ := run(t, "help")
	if code != exitOK {
		t.Fatalf("help exits %d", code)
	}
	for _, c := range commands() {
		line := "  sidecast " + c.name
		i := strings.Index(overview, "\n"+line)
		if i < 0 {
			t.Errorf("the overview does not list %s", c.name)
			continue
		}
		row, _, _ := strings.Cut(overview[i+1:], "\n")
		if len(row) > 100 || !strings.HasSuffix(row, c.summary) {
			t.Errorf("the overview's row of %s has %d columns: %s", c.name, len(row), row)
		}
		_, byName, _ := run(t, "help", c.name)
		_, byFlag, _ := run(t, c.name, "--help")
		if byName != byFlag || !strings.Contains(byName, c.usage()) {
			t.Errorf("help %s says %q, %s --help says %q", c.name, byName, c.name, byFlag)
		}
	}
}

// Options may stand anywhere before "--", and a payload may begin with a dash.
func TestParse(t *testing.T) {
	for _, test := range []struct {
		why  string
		args []string
		want string // the arguments, or the begin of the error
	}{
		{"options before", []string{"tail", "--url", "ws://h/ws", "a", "b"}, "a|b"},
		{"options between", []string{"tail", "a", "--url=ws://h/ws", "b"}, "a|b"},
		{"a channel that looks like an option", []string{"tail", "--", "--url"}, "--url"},
		{"an unknown option", []string{"tail", "--uri", "x", "a"}, "flag provided but not defined: -uri; usage: sidecast tail "},
		{"one dash", []string{"tail", "-url", "ws://h/ws", "a"}, "a"},
		{"options after --", []string{"tail", "a", "--", "--url", "b"}, "a|--url|b"},
		{"too few arguments", []string{"tail"}, "too few arguments; usage: sidecast tail "},
		{"a payload with a dash", []string{"publish", "a", "-1"}, "a|-1"},
		{"a payload of two dashes", []string{"publish", "a", "--"}, "a|--"},
		{"and after --", []string{"publish", "a", "--", "--"}, "a|--"},
		{"too many arguments", []string{"publish", "a", "b", "c"}, "too many arguments; usage: sidecast publish CHANNEL PAYLOAD"},
		{"an argument too many", []string{"version", "2"}, "version takes no arguments: settings come from the environment"},
		{"an option that is a setting", []string{"serve", "--listen"}, "serve takes no arguments: settings come from the environment"},
	} {
		args, err := find(test.args[0]).parse(test.args[1:])
		got := strings.Join(args, "|")
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, test.want) || err == nil && got != test.want {
			t.Errorf("%s: %q, want %q", test.why, got, test.want)
		}
	}
}

// What the release build set is what version prints.
func TestVersion(t *testing.T) {
	if code, out, _ := run(t, "--version"); code != exitOK || out != "sidecast 1.2.3 (abc)\n" {
		t.Errorf("exit %d, %q", code, out)
	}
}

// Misuse exits with 2 and says where help is.
func TestMisuse(t *testing.T) {
	for _, test := range [][]string{
		{"serf", `sidecast: unknown command "serf"; see sidecast help`},
		{"--listen", `sidecast: unknown option "--listen": settings come from the environment, see sidecast help`},
	} {
		if code, out, errs := run(t, test[0]); code != exitConfig || out != "" || strings.TrimSpace(errs) != test[1] {
			t.Errorf("%s: exit %d, %q, want %q", test[0], code, errs, test[1])
		}
	}
}

// After a certificate error, tail does not ask whether the URL is right.
func TestTailOfUntrustedCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	code, _, errs := run(t, "tail", "--url", "wss://"+server.Listener.Addr().String()+"/ws", "chat")
	if code != exitFailure || !strings.Contains(errs, "certificate") || strings.Contains(errs, "whole URL") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

// A fault is reported once, for the setting that has it.
func TestFaultsAreReportedOnce(t *testing.T) {
	for name, value := range map[string]string{
		"REDIS_URL": "redis://host", "REDIS_MODE": "sentinel", "CHANNELS": "a", "PUBLIC_CHANNELS": "a",
	} {
		t.Setenv("SIDECAST_"+name, value)
	}
	code, _, errs := run(t, "config")
	if code != exitConfig || strings.Count(errs, "\nSIDECAST_") != 1 || !strings.Contains(errs, "\nSIDECAST_REDIS_URL: has no master_name;") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

// The file of a token may end with a line break, also one of Windows. A byte
// order mark is named, because an editor does not show it.
func TestTokenFile(t *testing.T) {
	for text, want := range map[string]string{
		"a.b.c\r\n":          "",
		"\ufeffa.b.c\n":      "byte order mark",
		"a.b.c d":            "one token and nothing else",
		"\xff\xfea\x00.\x00": "byte order mark",
	} {
		token, err := readToken(strings.NewReader(text), "the file")
		if want == "" && (err != nil || token != "a.b.c") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %q, %v, want %s", text, token, err, want)
		}
	}
}

// The number that PUBLISH returns is not the number of browsers.
func TestMeaning(t *testing.T) {
	for want, got := range map[string]string{
		"1 Redis subscriber, usually the relay; browsers are not counted":                                          meaning(1, false),
		"3 Redis subscribers, such as relays; browsers are not counted":                                            meaning(3, false),
		"1 Redis subscriber on one node of the cluster, usually the relay; browsers are not counted":               meaning(1, true),
		"no Redis subscribers on one node of the cluster; Redis does not count those of other nodes":               meaning(0, true),
		"nothing subscribes to it in Redis: is a relay running, and does the channel match its SIDECAST_CHANNELS?": meaning(0, false),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
