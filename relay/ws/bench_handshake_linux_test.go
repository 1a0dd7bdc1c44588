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
	"sidecast/relay/protocol"
	"sidecast/relay/ws"
)

const dialVariable = "SIDECAST_BENCH_DIAL"

func TestMain(m *testing.M) {
	if addr := os.Getenv(dialVariable); addr != "" {
		if err := dialMany(addr); err != nil {
			fmt.Fprintln(os.Stderr, "bench clients:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// dialMany is the process of the clients: they connect one after the other, stay until they are told, and then all leave
// as clients do whose process ends.
func dialMany(addr string) error {
	conns := make([]net.Conn, clients)
	for i := range conns {
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
	fmt.Println("connected")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns) // or the garbage collector closes them before
	return nil
}

// clients is how many come in one slice of the measurement.
const clients = 1000

// BenchmarkHandshake compares the CPU time of a handshake and of the end of the connection, the session and the
// subscription included, with that of the WebSocket library alone on net/http, which has neither, but the same options on
// its sockets. x-gws-open leaves out the end.
//
//	go test -run '^$' -bench Handshake -benchtime 1x ./relay/ws
func BenchmarkHandshake(b *testing.B) {
	ours, plain := serveHTTP(b, benchHandler(b)), serveHTTP(b, plainHandler())
	var opens, wholes, costs []float64
	for i := range 24 {
		plainOpen, plainWhole := handshakes(b, plain)
		open, whole := handshakes(b, ours)
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

// handshakes returns the CPU time of this process for each client of one slice, in nanoseconds: until all were there, and
// until nothing was left of them.
func handshakes(b *testing.B, addr string) (open, whole float64) {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), dialVariable+"="+addr, "GOMAXPROCS=1")
	command.Stderr = os.Stderr
	stay, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	runtime.GC() // nobody pays for what the other left
	idle, before := runtime.NumGoroutine(), spent()
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatalf("the clients end with %q: %v", line, err)
	}
	connected := spent()
	_ = stay.Close()
	if err := command.Wait(); err != nil {
		b.Fatal(err)
	}
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

func serveHTTP(b *testing.B, h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
	all, err := relay.ParsePatterns(strings.Fields("*"))
	if err != nil {
		b.Fatal(err)
	}
	stats, logger := new(relay.Stats), slog.New(slog.DiscardHandler)
	budget := relay.NewBudget(2<<20, 256<<20, 10*time.Second, stats)
	hub := relay.NewHub(relay.HubConfig{
		Access: &relay.Access{Names: relay.NewNames("", ""), Channels: all, Public: all}, Budget: budget, Stats: stats,
		Protocols: protocol.All(), MaxChannels: 128, MaxPayload: 1 << 20, CommandRate: 20, CommandBurst: 50,
	})
	hub.Online(1)
	return ws.New(ws.Config{
		Hub: hub, Budget: budget, Slots: relay.NewSlots(50_000), Stats: stats, Logger: logger, MaxInbound: 16 << 10,
		Protocols: map[string]relay.Protocol{"": protocol.Raw{}},
	})
}
