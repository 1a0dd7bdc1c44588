package web_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/accept"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
	"sidecast/relay/web"
	"sidecast/relay/ws"
)

// A testRelay is a relay without Redis: messages of clients are delivered at
// once. It serves the page below a base path, and can reject clients,
// disconnect them, be unavailable and have no Redis.
type testRelay struct {
	url string // the URL of the page

	mu         sync.Mutex
	hub        *relay.Hub
	handler    *ws.Handler
	stop       func()     // ends hub and handler
	conns      []net.Conn // all that were opened since the last disconnect
	handshakes []string   // the query of each handshake
	rejection  protocol.CloseCode
	down       bool
}

func startRelay(t *testing.T, page web.Page) *testRelay {
	t.Helper()
	r := new(testRelay)
	r.start()
	mux := http.NewServeMux()
	mux.Handle("/base/", http.StripPrefix("/base", web.Demo(page)))
	for name, file := range web.Client() {
		mux.Handle("/base/"+name, file)
	}
	mux.HandleFunc("/base/ws", func(w http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		r.handshakes = append(r.handshakes, request.URL.RawQuery)
		handler, down := r.handler, r.down
		r.mu.Unlock()
		if down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(w, request)
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateHijacked {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.conns = append(r.conns, conn)
		}
	}
	server.Start()
	t.Cleanup(func() { r.disconnect(0); server.Close(); r.stop() })
	r.url = server.URL + "/base/"
	return r
}

// start replaces the hub and the handler.
func (r *testRelay) start() {
	all := access.Patterns{access.MustPattern("*")}
	counters, logger := new(stats.Stats), slog.New(slog.DiscardHandler)
	budget := outbox.NewBudget(3<<20, 256<<20, 10*time.Second, counters)
	r.hub = relay.NewHub(relay.HubConfig{
		Access: &access.Rules{Names: access.NewNames("", ""), Channels: all, Public: all, Publish: all}, Budget: budget,
		Protocols: protocol.All(), Stats: counters, Logger: logger, MaxChannels: 128, MaxPayload: 1 << 20,
		PingInterval: 25 * time.Second, PongTimeout: 10 * time.Second, HistoryBytes: 8 << 20, HistoryAge: time.Minute,
		Publish: func(_ context.Context, channel string, payload []byte) (int64, error) {
			r.send(channel, string(payload))
			return 1, nil
		},
	})
	r.hub.Online(1)
	handler := ws.New(ws.Config{
		Hub: r.hub, Budget: budget, Slots: accept.NewSlots(1000), Stats: counters, Logger: logger, MaxInbound: 16 << 10,
		Protocols: map[string]protocol.Protocol{protocol.SubprotocolV1: protocol.V1{}},
		Identify: func(*http.Request, *string) (access.Principal, protocol.CloseCode) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return access.Principal{}, r.rejection
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	hub := r.hub
	running.Go(func() { _ = hub.Run(ctx) })
	r.handler, r.stop = handler, func() { handler.Wait(); cancel(); running.Wait() }
}

// send delivers a message to all clients of the channel.
func (r *testRelay) send(channel, payload string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hub.Publish([]byte(channel), []byte(payload))
	r.hub.Flush()
}

// setRedis changes whether the relay is connected to Redis.
func (r *testRelay) setRedis(up bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if up {
		r.hub.Online(1)
	} else {
		r.hub.Offline()
	}
}

// cut closes all connections without a close frame.
func (r *testRelay) cut() {
	r.mu.Lock()
	conns := r.conns
	r.conns = nil
	r.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
}

// disconnect closes all connections, with a close frame unless code is 0, and
// forgets all messages: clients cannot resume.
func (r *testRelay) disconnect(code protocol.CloseCode) {
	r.mu.Lock()
	hub, stop, conns := r.hub, r.stop, r.conns
	r.conns = nil
	r.start()
	r.mu.Unlock()
	if code != 0 {
		hub.Drain(context.Background(), 0, code)
		conns = nil
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	stop()
}

// reject closes new connections with a code after the handshake. 0 accepts
// connections again.
func (r *testRelay) reject(code protocol.CloseCode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rejection = code
}

// setDown makes handshakes fail, as if the relay were not running.
func (r *testRelay) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// attempts returns the queries of all handshakes so far.
func (r *testRelay) attempts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.handshakes)
}
