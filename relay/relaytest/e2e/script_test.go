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
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// password is in settings of the scripts as $SECRET, and nothing may ever print it.
const password = "correct-horse-battery-staple"

// TestWrongSettings runs the scripts of testdata/script: what a person at a shell types, right and wrong, and is told.
// Beside the commands of testscript they have:
//
//	exits CODE ARG...          runs sidecast to its end, which has to exit with CODE
//	awaits FILE REGEXP         waits until a file, which a program in the background writes, has a line like this
//	get STATUS URL HEADER...   asks for a URL, which has to answer with STATUS; stdout is the body
//	redis ARG...               starts redis-server: $REDIS is its host:port, $REDIS_PORT the port
//	unused NAME                sets $NAME to a host:port at which nobody listens
//	taken NAME                 sets $NAME to a host:port at which somebody else listens
func TestWrongSettings(t *testing.T) {
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
				"HOME":                  env.WorkDir, // where macOS has the cache
			} {
				env.Setenv(name, value)
			}
			env.Values[testing.TB(nil)] = env.T().(testing.TB)
			env.Defer(func() { keepsSecret(env.T().(testing.TB), env.WorkDir) })
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

// arguments ends the script if a command is not written as it should be.
func arguments(ts *testscript.TestScript, neg bool, args []string, least int) {
	if neg || len(args) < least {
		ts.Fatalf("this command takes %d arguments or more, and no !", least)
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

// awaitLine waits until a file that a program writes has a line like this, and returns what the expression found in it.
func awaitLine(path, expression string) ([]string, error) {
	pattern, err := regexp.Compile("(?m)" + expression)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(relaytest.Patience)
	defer limit.Stop()
	for {
		text, err := os.ReadFile(path)
		if found := pattern.FindStringSubmatch(string(text)); found != nil {
			return found, nil
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return nil, fmt.Errorf("no line of %s is like %s (%v):\n%s", filepath.Base(path), expression, err, text)
		}
	}
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
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: relaytest.Patience}
	response, err := client.Do(request)
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

// keepsSecret looks for the password in everything that programs in the background wrote.
func keepsSecret(t testing.TB, dir string) {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Error(err)
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil || strings.Contains(string(text), password) {
			t.Errorf("%s holds the password (%v):\n%s", filepath.Base(log), err, text)
		}
		for _, sign := range []string{"WARNING: DATA RACE", "panic: "} {
			if strings.Contains(string(text), sign) {
				t.Errorf("%s:\n%s", filepath.Base(log), text)
			}
		}
	}
}
