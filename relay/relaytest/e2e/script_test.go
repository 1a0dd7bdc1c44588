package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// password is $SECRET in the settings of the scripts. No program may ever print
// it.
const password = "correct-horse-battery-staple"

// TestScripts runs the scripts in testdata/script: commands as a user types
// them, correct and wrong, and the output that sidecast must print. In addition
// to the commands of testscript they can use:
//
//	exits CODE ARG...          runs sidecast until it exits, which must be with CODE
//	awaits FILE REGEXP         waits until a file that a background program writes has a matching line
//	get STATUS URL HEADER...   requests a URL, which must answer with STATUS; stdout is the body
//	redis ARG...               starts redis-server: $REDIS is its host:port, $REDIS_PORT its port
//	unused NAME                sets $NAME to a host:port that is free
//	taken NAME                 sets $NAME to a host:port on which another program listens
func TestScripts(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "sh", "dash")
	binary := relaytest.Build(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{
				"PATH":                  filepath.Dir(binary) + string(os.PathListSeparator) + env.Getenv("PATH"),
				"GORACE":                os.Getenv("GORACE"),
				"SECRET":                password,
				"SIDECAST_LISTEN":       "127.0.0.1:0",
				"SIDECAST_ADMIN_LISTEN": "127.0.0.1:0",
				"XDG_CACHE_HOME":        filepath.Join(env.WorkDir, "cache"),
				"HOME":                  env.WorkDir, // macOS derives the cache directory from it
			} {
				env.Setenv(name, value)
			}
			env.Values[testing.TB(nil)] = env.T().(testing.TB)
			env.Defer(func() { checkLogs(env.T().(testing.TB), env.WorkDir) })
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "awaits": awaits, "get": getURL, "redis": startRedis, "unused": unused, "taken": taken,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func tb(ts *testscript.TestScript) testing.TB { return ts.Value(testing.TB(nil)).(testing.TB) }

// arguments fails the script if a command has a ! or too few arguments.
func arguments(ts *testscript.TestScript, neg bool, args []string, least int) {
	if neg || len(args) < least {
		ts.Fatalf("this command takes at least %d arguments and no !", least)
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1)
	err := ts.Exec("sidecast", args[1:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("running sidecast: %v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("sidecast exits with %d, want %s", code, args[0])
	}
	if strings.Contains(ts.ReadFile("stdout")+ts.ReadFile("stderr"), password) {
		ts.Fatalf("sidecast prints the password")
	}
}

func awaits(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2)
	_, err := awaitLine(ts.MkAbs(args[0]), args[1])
	ts.Check(err)
}

// awaitLine waits until a file that a program writes has a line that matches
// the expression, and returns the match and its submatches.
func awaitLine(path, expression string) (found []string, err error) {
	pattern, err := regexp.Compile("(?m)" + expression)
	if err != nil {
		return nil, err
	}
	err = poll(func() string {
		text, err := os.ReadFile(path)
		if found = pattern.FindStringSubmatch(string(text)); found == nil {
			return fmt.Sprintf("no line of %s matches %s (%v):\n%s", filepath.Base(path), expression, err, text)
		}
		return ""
	})
	return found, err
}

func getURL(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2)
	request, err := http.NewRequestWithContext(tb(ts).Context(), http.MethodGet, args[1], nil)
	ts.Check(err)
	for _, header := range args[2:] {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
		if name == "Host" {
			request.Host = value
		}
	}
	response, err := probes.Do(request)
	ts.Check(err)
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols {
		response.Body = http.NoBody
	}
	body, err := io.ReadAll(response.Body)
	ts.Check(err)
	_, _ = ts.Stdout().Write(body)
	if strconv.Itoa(response.StatusCode) != args[0] {
		ts.Fatalf("%s answers %s, want %s: %s", args[1], response.Status, args[0], body)
	}
}

func startRedis(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 0)
	redistest.Require(tb(ts), "redis-cli", "redis-tools")
	server := redistest.Start(tb(ts), args...)
	ts.Setenv("REDIS", server.Addr)
	ts.Setenv("REDIS_PORT", server.Port())
}

func unused(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1)
	ts.Setenv(args[0], redistest.FreeAddr(tb(ts)))
}

func taken(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// checkLogs fails the test if a background program has printed the password, a
// data race or a panic.
func checkLogs(t testing.TB, dir string) {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Error(err)
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil || strings.Contains(string(text), password) {
			t.Errorf("%s contains the password (%v):\n%s", filepath.Base(log), err, text)
		}
		for _, sign := range []string{"WARNING: DATA RACE", "panic: "} {
			if strings.Contains(string(text), sign) {
				t.Errorf("%s:\n%s", filepath.Base(log), text)
			}
		}
	}
}
