package relaytest

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9/logging"
)

// standInVariable makes the test binary a stand-in for sidecast that behaves in
// ways in which sidecast cannot be made to behave.
const standInVariable = "RELAYTEST_STAND_IN"

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs every attempt to connect to a Redis that a test has killed
	if mode := os.Getenv(standInVariable); mode != "" {
		os.Exit(standIn(mode, os.Stderr))
	}
	os.Exit(m.Run())
}

func standIn(mode string, out io.Writer) int {
	logger := slog.New(slog.NewTextHandler(out, nil))
	if strings.Contains(mode, "json") {
		logger = slog.New(slog.NewJSONHandler(out, nil))
	}
	switch mode {
	case "fail":
		fmt.Fprintln(out, "sidecast: no")
		return 2
	case "race":
		fmt.Fprintln(out, "WARNING: DATA RACE")
		return 0
	case "environment":
		for _, variable := range os.Environ() {
			fmt.Fprintln(out, variable)
		}
		return 0
	}
	l, err := net.Listen("tcp", os.Getenv("SIDECAST_LISTEN"))
	if err != nil {
		return 1
	}
	var requests atomic.Int32
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" || requests.Add(1) < 3 {
				http.Error(w, "not yet", http.StatusServiceUnavailable)
			}
		}))
	}()
	logger.Info("listening", "note", `a "quoted" addr=1`, "addr", l.Addr().String())
	logger.Info("admin listening", "addr", "127.0.0.1:1")
	<-stop
	fmt.Fprint(out, "bye") // without a line feed
	return 7
}

func startStandIn(t testing.TB, mode string) *Process {
	t.Helper()
	return start(t, os.Args[0], map[string]string{standInVariable: mode})
}

func TestProcess(t *testing.T) {
	for _, mode := range []string{"serve", "serve json"} {
		t.Run(mode, func(t *testing.T) {
			p := startStandIn(t, mode)
			if addr := p.Addr(); !strings.HasPrefix(addr, "127.0.0.1:") || addr == "127.0.0.1:0" {
				t.Errorf("address %q", addr)
			}
			if addr := p.AdminAddr(); addr != "127.0.0.1:1" {
				t.Errorf("admin address %q", addr)
			}
			p.AwaitReady()
			p.Pause()
			p.Continue()
			if code := p.Stop(); code != 7 {
				t.Errorf("exit code %d", code)
			}
			if !strings.HasSuffix(p.Log(), "bye") || p.AwaitLog(func(line string) bool { return line == "bye" }) != "bye" {
				t.Errorf("log %q", p.Log())
			}
		})
	}
}

// TestProcessEnvironment: the process does not inherit settings from the
// environment of the test, and receives those of Start.
func TestProcessEnvironment(t *testing.T) {
	t.Setenv("SIDECAST_CHANNELS", "from outside")
	t.Setenv("SIDECAST_LISTEN", "from outside")
	t.Setenv("OTHER", "other")
	p := start(t, os.Args[0], map[string]string{standInVariable: "environment", "SIDECAST_ADMIN_LISTEN": "given"})
	p.Wait()
	lines := strings.Split(p.Log(), "\n")
	for _, want := range []string{"OTHER=other", "SIDECAST_LISTEN=127.0.0.1:0", "SIDECAST_ADMIN_LISTEN=given"} {
		if !strings.Contains(p.Log(), want+"\n") {
			t.Errorf("%s is missing in %q", want, lines)
		}
	}
	if strings.Contains(p.Log(), "from outside") {
		t.Errorf("the process inherited settings: %q", lines)
	}
}

// fakeTB is a test that can fail without failing this one.
type fakeTB struct {
	testing.TB
	output   strings.Builder
	cleanups []func()
}

func (f *fakeTB) Cleanup(cleanup func())         { f.cleanups = append(f.cleanups, cleanup) }
func (f *fakeTB) Errorf(format string, a ...any) { fmt.Fprintf(&f.output, format, a...) }
func (f *fakeTB) Logf(format string, a ...any)   { fmt.Fprintf(&f.output, format, a...) }
func (f *fakeTB) Failed() bool                   { return f.output.Len() > 0 }
func (f *fakeTB) Fatalf(format string, a ...any) {
	fmt.Fprintf(&f.output, format, a...)
	runtime.Goexit()
}

// outputOf runs a test, its cleanup included, and returns its output.
func outputOf(t *testing.T, test func(t testing.TB)) string {
	f := &fakeTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	for _, cleanup := range f.cleanups {
		cleanup()
	}
	return f.output.String()
}

// TestProcessFailures: a process that does not do what a method waits for fails
// the test, and its log is shown.
func TestProcessFailures(t *testing.T) {
	tests := []struct {
		why, mode string
		do        func(p *Process)
		want      string
	}{
		{"no address", "fail", func(p *Process) { p.Addr() }, "the process ended"},
		{"the log is shown", "fail", func(p *Process) { p.AdminAddr() }, "sidecast: no"},
		{"a data race", "race", func(p *Process) { p.Wait() }, "WARNING: DATA RACE"},
		{"nothing", "fail", func(p *Process) { p.Wait() }, ""},
		{"never ready", "serve", func(p *Process) {
			addr := p.Addr()
			p.Kill()
			p.AwaitStatus("http://"+addr+"/", 200)
		}, "awaiting 200"},
	}
	for _, test := range tests {
		output := outputOf(t, func(t testing.TB) { test.do(startStandIn(t, test.mode)) })
		if !strings.Contains(output, test.want) || test.want == "" && output != "" {
			t.Errorf("%s: the output is %q", test.why, output)
		}
	}
}

func TestLogField(t *testing.T) {
	tests := []struct{ line, key, want string }{
		{`time=2026 level=INFO msg=listening addr=127.0.0.1:80`, "addr", "127.0.0.1:80"},
		{`time=2026 level=INFO msg="admin listening" addr=127.0.0.1:80`, "msg", "admin listening"},
		{`level=INFO msg=x note="say \"addr=1\" twice" addr=2`, "addr", "2"},
		{`level=INFO msg=x`, "addr", ""},
		{`sidecast: invalid configuration:`, "msg", ""},
		{`msg=`, "msg", ""},
		{`{"level":"INFO","msg":"listening","addr":"127.0.0.1:80","n":5}`, "addr", "127.0.0.1:80"},
		{`{"level":"INFO","n":5}`, "n", "5"},
		{`{"level":`, "level", ""},
	}
	for _, test := range tests {
		if got := LogField(test.line, test.key); got != test.want {
			t.Errorf("%s of %s: %q, want %q", test.key, test.line, got, test.want)
		}
	}
}

func FuzzLogField(f *testing.F) {
	f.Add(`msg="a\"b" addr=1`, "addr")
	f.Add(`{"msg":"x"}`, "msg")
	f.Fuzz(func(_ *testing.T, line, key string) { LogField(line, key) })
}
