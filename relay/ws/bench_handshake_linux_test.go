package ws_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"sidecast/relay"
	"sidecast/relay/accept"
	"sidecast/relay/access"
	"sidecast/relay/auth"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/server"
	"sidecast/relay/stats"
	"sidecast/relay/transport"
	"sidecast/relay/ws"
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

// request is the handshake of each client.
const request = "GET /ws?channel=a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

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
			if _, err := io.WriteString(conn, request); err != nil {
				return err
			}
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

// BenchmarkHandshake measures the CPU time of a connect, subscription included,
// and of the end of the connection. It compares the whole public listener, with
// default settings, with the WebSocket library on net/http, and with the
// library's own server. Neither has limits, sessions or subscriptions. All
// listeners are alike, and each round of clients connects to one of them after
// the other. It prints medians with the first and third quartile; the ratios
// named open are without the end of the connection.
//
//	go test -run '^$' -bench Handshake -benchtime 1x ./relay/ws
func BenchmarkHandshake(b *testing.B) {
	slots := accept.NewSlots(50_000)
	others := new(openClients)
	addrs := []string{serveRelay(b, slots), servePlain(b, others), serveLibrary(b, others)}
	names := []string{"relay", "upgrader", "newserver"}
	fleet := newFleet(b)
	opens, wholes := make([][]float64, len(addrs)), make([][]float64, len(addrs))
	for round := range 41 {
		for i := range addrs {
			i = (i + round) % len(addrs)
			open, whole := fleet.handshakes(b, addrs[i], func() bool { return slots.Used() == 0 && others.n.Load() == 0 })
			if round > 0 { // the first round is for warming up
				opens[i], wholes[i] = append(opens[i], open/1000), append(wholes[i], whole/1000)
			}
		}
	}
	for i, name := range names {
		report(b, "us-"+name+"-open", opens[i])
		if i > 0 {
			report(b, "x-"+name+"-open", ratios(opens[0], opens[i]))
			report(b, "x-"+name, ratios(wholes[0], wholes[i]))
		}
	}
	b.ReportMetric(0, "ns/op")
}

// ratios returns the ratios of measurements of the same rounds.
func ratios(of, to []float64) (list []float64) {
	for i := range of {
		list = append(list, of[i]/to[i])
	}
	return list
}

// report reports the median, and prints it with the quartiles.
func report(b *testing.B, unit string, samples []float64) {
	slices.Sort(samples)
	n := len(samples)
	b.ReportMetric(samples[n/2], unit)
	b.Logf("%-20s %6.3f (%.3f to %.3f)", unit, samples[n/2], samples[n/4], samples[n*3/4])
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
func (f *fleet) handshakes(b *testing.B, addr string, ended func() bool) (open, whole float64) {
	runtime.GC() // collects the garbage of the previous round
	before := cpuTime()
	f.do(b, addr)
	connected := cpuTime()
	f.do(b, "")
	for !ended() {
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

// listenAs listens as the relay does, so that the sockets of all servers are
// alike.
func listenAs(b *testing.B) net.Listener {
	l, err := transport.Listen(b.Context(), "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l
}

// openClients counts the clients of the library.
type openClients struct {
	gws.BuiltinEventHandler
	n atomic.Int64
}

// OnOpen implements [gws.Event].
func (c *openClients) OnOpen(*gws.Conn) { c.n.Add(1) }

// OnClose implements [gws.Event].
func (c *openClients) OnClose(*gws.Conn, error) { c.n.Add(-1) }

// servePlain serves the library on net/http.
func servePlain(b *testing.B, events gws.Event) (addr string) {
	upgrader := gws.NewUpgrader(events, nil)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if socket, err := upgrader.Upgrade(w, r); err == nil {
			go socket.ReadLoop()
		}
	})}
	l := listenAs(b)
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

// serveLibrary serves the library's own server. It cannot be stopped: after its
// listener is closed, it waits for further connections forever.
func serveLibrary(b *testing.B, events gws.Event) (addr string) {
	s, l := gws.NewServer(events, nil), listenAs(b)
	s.OnError = func(net.Conn, error) { runtime.Goexit() }
	go func() { _ = s.RunListener(l) }()
	return l.Addr().String()
}

// serveRelay serves the relay with default settings. Its hub does not run, so
// that only connects cost time.
func serveRelay(b *testing.B, slots *accept.Slots) (addr string) {
	counters, logger := new(stats.Stats), slog.New(slog.DiscardHandler)
	all := access.Patterns{access.MustPattern("*")}
	limiter := accept.NewIPLimiter(100, 50)
	reader, err := transport.StartReader()
	if err != nil {
		b.Fatal(err)
	}
	proxies, refusals := auth.NewProxies(nil), accept.NewRefusals(counters, logger, nil)
	budget := outbox.NewBudget(3<<20, 256<<20, 10*time.Second, counters)
	hub := relay.NewHub(relay.HubConfig{
		Access: &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all},
		Budget: budget, Protocols: protocol.All(), Stats: counters, Logger: logger,
		HistoryBytes: 64 << 20, HistoryAge: 5 * time.Minute, MaxChannels: 128, MaxPayload: 1 << 20,
		CommandRate: 20, CommandBurst: 50, PingInterval: 25 * time.Second, PongTimeout: 10 * time.Second,
	})
	hub.Online(1)
	origins, err := auth.NewOrigins(auth.OriginsConfig{})
	if err != nil {
		b.Fatal(err)
	}
	l := listenAs(b)
	s := server.New(server.Config{
		Public: l, Admin: listenAs(b), Hub: hub, Origins: origins, Proxies: proxies, Stats: counters, Logger: logger,
		Slots: slots, IPLimiter: limiter, Refusals: refusals,
		WS: ws.New(ws.Config{
			Hub: hub, Budget: budget, Slots: slots, Stats: counters, Logger: logger, Refusals: refusals,
			Protocols: map[string]protocol.Protocol{
				"": protocol.Raw{}, protocol.SubprotocolRaw: protocol.Raw{}, protocol.SubprotocolV1: protocol.V1{},
			},
			Reader: reader, Listened: true, MaxInbound: 16 << 10, Identify: auth.NewGate(auth.GateConfig{}).Identify,
			Limited: proxies.Limited, IPLimiter: limiter,
			Remote: func(r *http.Request) string { return proxies.Client(r).String() },
		}),
		AdminHandler: func(_, live http.Handler) http.Handler { return live },
		Ready:        func() bool { return true }, Up: func() bool { return true },
	})
	ctx, stop := context.WithCancelCause(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(func() { stop(server.ErrHurry); running.Wait(); reader.Close() })
	return l.Addr().String()
}
