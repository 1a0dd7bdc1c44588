package ws_test

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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
	"sidecast/relay/ws"
)

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

// clients is how many come in one slice of the measurement: enough for the garbage collector to run some times in each.
const clients = 1000

// dialMany is the process of the clients. For each line of commands, an address, they connect there one after the other,
// say so, and stay until an empty line comes; then they leave without a word, as a browser does that is killed.
func dialMany(commands io.Reader, said io.Writer) error {
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
			fmt.Fprint(conn, "GET /?channel=a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
				return fmt.Errorf("%v %v", response, err)
			}
			conns[i] = conn
		}
		fmt.Fprintln(said, "done")
	}
	return nil
}

// BenchmarkHandshake compares the CPU time of a handshake and of the end of the connection, the session and the
// subscription included, with that of the WebSocket library alone on net/http, which has neither, but as large a send
// buffer. x-gws-open leaves out the end.
//
//	go test -run '^$' -bench Handshake -benchtime 1x ./relay/ws
func BenchmarkHandshake(b *testing.B) {
	l, err := ws.Listen(b.Context(), "127.0.0.1:0")
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
		if i > 0 { // the first warms up
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

// A fleet is the process of the clients, seen from here.
type fleet struct {
	commands io.Writer
	said     *bufio.Reader
}

func newFleet(b *testing.B) *fleet {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), dialVariable+"=1", "GOMAXPROCS=1")
	command.Stderr = os.Stderr
	commands, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	said, err := command.StdoutPipe()
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
	return &fleet{commands, bufio.NewReader(said)}
}

func (f *fleet) do(b *testing.B, what string) {
	fmt.Fprintln(f.commands, what)
	if line, err := f.said.ReadString('\n'); err != nil {
		b.Fatalf("the clients end with %q: %v", line, err)
	}
}

// handshakes returns the CPU time of this process for each client of one slice, in nanoseconds: until all were there, and
// until nothing was left of them.
func (f *fleet) handshakes(b *testing.B, addr string) (open, whole float64) {
	runtime.GC() // nobody pays for what the other left
	idle, before := runtime.NumGoroutine(), spent()
	f.do(b, addr)
	connected := spent()
	f.do(b, "")
	for runtime.NumGoroutine() > idle {
		time.Sleep(time.Millisecond)
	}
	return float64(connected-before) / clients, float64(spent()-before) / clients
}

func spent() time.Duration {
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

func benchHandler(b *testing.B) *ws.Handler {
	all, err := access.ParsePatterns(strings.Fields("*"))
	if err != nil {
		b.Fatal(err)
	}
	stats, logger := new(stats.Stats), slog.New(slog.DiscardHandler)
	budget := outbox.NewBudget(2<<20, 256<<20, 10*time.Second, stats)
	hub := relay.NewHub(relay.HubConfig{
		Access: &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all}, Budget: budget, Stats: stats,
		Protocols: protocol.All(), MaxChannels: 128, MaxPayload: 1 << 20, CommandRate: 20, CommandBurst: 50,
	})
	hub.Online(1)
	return ws.New(ws.Config{
		Hub: hub, Budget: budget, Slots: relay.NewSlots(50_000), Stats: stats, Logger: logger, MaxInbound: 16 << 10,
		Listened: true, Protocols: map[string]protocol.Protocol{"": protocol.Raw{}},
	})
}
