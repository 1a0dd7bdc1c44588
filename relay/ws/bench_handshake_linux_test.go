package ws

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"sidecast/relay/transport"
)

// dialVariable makes the test binary run [dialMany].
const dialVariable = "SIDECAST_BENCH_DIAL"

func TestMain(m *testing.M) {
	if os.Getenv(dialVariable) != "" {
		if err := dialMany(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench clients:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// clients is the number of clients in one round: enough for the garbage
// collector to run several times.
const clients = 1000

// dialMany is the process of the clients. Each command is a line with an
// address: the clients connect to it one after the other, and the process
// answers with a line. An empty line makes them close their TCP connections
// without a close frame, as a killed browser does.
func dialMany(commands io.Reader, answers io.Writer) error {
	conns := make([]net.Conn, clients)
	for lines := bufio.NewScanner(commands); lines.Scan(); {
		addr := lines.Text()
		for i := range conns {
			if addr == "" {
				_ = conns[i].Close()
				continue
			}
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				return err
			}
			fmt.Fprint(conn, handshakeText("/?channel=a"))
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
				return fmt.Errorf("handshake: %v %v", response, err)
			}
			conns[i] = conn
		}
		fmt.Fprintln(answers, "done")
	}
	return nil
}

// BenchmarkHandshake measures the CPU time of a handshake and of the end of the
// connection, with session and subscription. It compares it with the WebSocket
// library on net/http, which has no sessions, but a send buffer of the same
// size. x-gws-open is without the end of the connection.
//
//	go test -run '^$' -bench Handshake -benchtime 1x ./relay/ws
func BenchmarkHandshake(b *testing.B) {
	l, err := transport.Listen(b.Context(), "127.0.0.1:0")
	ours := serveHTTP(b, l, err, benchHandler(b))
	l, err = net.Listen("tcp", "127.0.0.1:0")
	plain := serveHTTP(b, l, err, plainHandler())
	fleet := newFleet(b)
	var opens, wholes, costs []float64
	for i := range 41 {
		first, second := plain, ours
		if i%2 == 1 {
			first, second = ours, plain
		}
		plainOpen, plainWhole := fleet.handshakes(b, first)
		open, whole := fleet.handshakes(b, second)
		if i%2 == 1 {
			plainOpen, plainWhole, open, whole = open, whole, plainOpen, plainWhole
		}
		if i > 0 { // the first round is for warming up
			opens, wholes, costs = append(opens, open/plainOpen), append(wholes, whole/plainWhole), append(costs, whole)
		}
	}
	b.ReportMetric(median(wholes), "x-gws")
	b.ReportMetric(median(opens), "x-gws-open")
	b.ReportMetric(median(costs)/1000, "us/handshake")
	b.ReportMetric(0, "ns/op")
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// A fleet controls the process of the clients.
type fleet struct {
	commands io.Writer
	answers  *bufio.Reader
}

func newFleet(b *testing.B) *fleet {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), dialVariable+"=1", "GOMAXPROCS=1")
	command.Stderr = os.Stderr
	commands, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	answers, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = commands.Close()
		if err := command.Wait(); err != nil {
			b.Error(err)
		}
	})
	return &fleet{commands, bufio.NewReader(answers)}
}

func (f *fleet) do(b *testing.B, command string) {
	fmt.Fprintln(f.commands, command)
	if line, err := f.answers.ReadString('\n'); err != nil {
		b.Fatalf("the process of the clients ended with %q: %v", line, err)
	}
}

// handshakes returns the CPU time of this process for each client of one round,
// in nanoseconds: until all clients are connected, and until all connections
// have ended.
func (f *fleet) handshakes(b *testing.B, addr string) (open, whole float64) {
	runtime.GC() // collects the garbage of the previous round
	idle, before := runtime.NumGoroutine(), cpuTime()
	f.do(b, addr)
	connected := cpuTime()
	f.do(b, "")
	for runtime.NumGoroutine() > idle {
		time.Sleep(time.Millisecond)
	}
	return float64(connected-before) / clients, float64(cpuTime()-before) / clients
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func serveHTTP(b *testing.B, l net.Listener, err error, h http.Handler) string {
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

func plainHandler() http.Handler {
	upgrader := gws.NewUpgrader(new(gws.BuiltinEventHandler), nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if socket, err := upgrader.Upgrade(w, r); err == nil {
			_ = socket.NetConn().(*net.TCPConn).SetWriteBuffer(128 << 10)
			go socket.ReadLoop()
		}
	})
}

// benchHandler returns a handler with the default settings. Its hub does not
// run, so that only handshakes cost time.
func benchHandler(b *testing.B) *Handler {
	r := buildRelay(b, []relayOption{func(c *relayConfig) {
		c.ws.Listened, c.ws.Logger, c.hub.Logger = true, slog.New(slog.DiscardHandler), slog.New(slog.DiscardHandler)
	}})
	r.online()
	return r.handler
}
