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
)

// standInVariable makes the test binary be a process to be started, in the ways in which sidecast cannot be made to fail.
const standInVariable = "RELAYTEST_STAND_IN"

func TestMain(m *testing.M) {
	if how := os.Getenv(standInVariable); how != "" {
		os.Exit(standIn(how, os.Stderr))
	}
	os.Exit(m.Run())
}

func standIn(how string, out io.Writer) int {
	logger := slog.New(slog.NewTextHandler(out, nil))
	if strings.Contains(how, "json") {
		logger = slog.New(slog.NewJSONHandler(out, nil))
	}
	switch how {
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
	var asked atomic.Int32
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" || asked.Add(1) < 3 {
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

func startStandIn(t testing.TB, how string) *Process {
	t.Helper()
	return start(t, os.Args[0], map[string]string{standInVariable: how})
}

func TestProcess(t *testing.T) {
	for _, how := range []string{"serve", "serve json"} {
		t.Run(how, func(t *testing.T) {
			p := startStandIn(t, how)
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

// TestProcessEnvironment: settings of the test's own environment do not get through, and those given do.
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
		t.Errorf("settings of the environment got through: %q", lines)
	}
}

// spy is a test that fails without failing this one.
type spy struct {
	testing.TB
	told     strings.Builder
	cleanups []func()
}

func (s *spy) Cleanup(f func())          { s.cleanups = append(s.cleanups, f) }
func (s *spy) Errorf(f string, a ...any) { fmt.Fprintf(&s.told, f, a...) }
func (s *spy) Logf(f string, a ...any)   { fmt.Fprintf(&s.told, f, a...) }
func (s *spy) Failed() bool              { return s.told.Len() > 0 }
func (s *spy) Fatalf(f string, a ...any) {
	fmt.Fprintf(&s.told, f, a...)
	runtime.Goexit()
}

// fails runs a test, its clean-up included, and returns what it complained of.
func fails(t *testing.T, test func(t testing.TB)) string {
	s := &spy{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(s)
	}()
	<-done
	for _, f := range s.cleanups {
		f()
	}
	return s.told.String()
}

// TestProcessComplains: a process that is not what it should be fails the test, with its log.
func TestProcessComplains(t *testing.T) {
	tests := []struct {
		why, how string
		do       func(p *Process)
		want     string
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
		told := fails(t, func(t testing.TB) { test.do(startStandIn(t, test.how)) })
		if !strings.Contains(told, test.want) || test.want == "" && told != "" {
			t.Errorf("%s: the test was told %q", test.why, told)
		}
	}
}

func TestShorten(t *testing.T) {
	short, long := strings.Repeat("a", 2*shownLog), "begin"+strings.Repeat("a", 3*shownLog)+"end"
	if shorten(short) != short {
		t.Error("a short log was changed")
	}
	if s := shorten(long); len(s) > 2*shownLog+10 || !strings.HasPrefix(s, "begin") || !strings.HasSuffix(s, "end") {
		t.Errorf("a long log became %d bytes", len(s))
	}
}

func TestLogField(t *testing.T) {
	tests := []struct{ line, key, want string }{
		{`time=2026 level=INFO msg=listening addr=127.0.0.1:80`, "addr", "127.0.0.1:80"},
		{`time=2026 level=INFO msg="admin listening" addr=127.0.0.1:80`, "msg", "admin listening"},
		{`level=INFO msg=x note="say \"addr=1\" twice" addr=2`, "addr", "2"},
		{`level=INFO msg=x`, "addr", ""},
		{`sidecast: the configuration is not right:`, "msg", ""},
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
