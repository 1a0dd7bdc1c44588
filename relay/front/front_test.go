package front_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/front"
	"sidecast/relay/relaytest/inmemory"
	"sidecast/relay/transport"
)

// handshake is the head of an ordinary handshake.
const handshake = "GET /ws HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// page is a request for a page.
const page = "GET / HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n"

// A testServer is an http.Server with a front, or without one.
type testServer struct {
	*http.Server
	addr string
	log  inmemory.Log
	stop func() // waits until everything has ended

	ended chan struct{} // receives each time that a connection has reached its last state

	mu     sync.Mutex
	states []http.ConnState
}

// serve runs a server on a listener until the test ends. Its connections have
// values in their contexts, and it records their states.
func serve(t *testing.T, l net.Listener, plain bool, h http.HandlerFunc) *testServer {
	t.Helper()
	s := &testServer{addr: l.Addr().String(), ended: make(chan struct{}, 100)}
	s.Server = &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, ErrorLog: log.New(&s.log, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, "conn")
		},
		ConnState: func(_ net.Conn, state http.ConnState) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.states = append(s.states, state)
			if state == http.StateClosed || state == http.StateHijacked {
				select {
				case s.ended <- struct{}{}:
				default: // more than any test waits for
				}
			}
		},
	}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	wait := func() {}
	if !plain {
		f := front.Listen(s.Server, l, func(path string) bool { return path == "/ws" }, nil)
		l, wait = f, f.Wait
	}
	var served sync.WaitGroup
	served.Go(func() { _ = s.Serve(l) })
	s.stop = func() { _ = s.Close(); served.Wait(); wait() }
	t.Cleanup(s.stop)
	return s
}

type connKey struct{}

func serveTCP(t *testing.T, plain bool, h http.HandlerFunc) *testServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, l, plain, h)
}

func (s *testServer) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn.(*net.TCPConn)
}

// ask sends pieces and returns everything that the server sends.
func (s *testServer) ask(t *testing.T, pieces ...string) string {
	t.Helper()
	conn := s.dial(t)
	for _, piece := range pieces {
		if _, err := io.WriteString(conn, piece); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// byFront reports whether the front serves a request.
func byFront(w http.ResponseWriter) bool {
	_, ok := w.(interface {
		Detach() (net.Conn, []byte, error)
	})
	return ok
}

// The front serves ordinary handshakes only, and net/http everything else.
func TestWhoServes(t *testing.T) {
	s := serveTCP(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Connection") != "keep-alive" {
			w.Header().Set("Connection", "close")
		}
		fmt.Fprintf(w, "%v %s %s", byFront(w), r.Method, r.URL)
	})
	for _, c := range []struct {
		pieces []string
		want   string // ends the answer
	}{
		{[]string{handshake}, "true GET /ws"},
		{[]string{handshake + "frames"}, "true GET /ws"},
		{strings.SplitAfter(handshake, ""), "true GET /ws"},
		{strings.SplitAfter(handshake, "\r"), "true GET /ws"},
		// Too large for the front.
		{[]string{strings.Replace(handshake, "Host:", "Cookie: "+strings.Repeat("x", 8000)+"\r\nHost:", 1)}, "false GET /ws"},
		// Larger than all limits.
		{[]string{"GET /ws HTTP/1.1\r\nHost: relay\r\nCookie: " + strings.Repeat("x", 1<<20)[:1<<20-20] + "\r\n\r\n"}, "false GET /ws"},
		// Another path than that of the endpoint.
		{[]string{strings.Replace(handshake, "/ws", "/", 1)}, "false GET /"},
		{[]string{page}, "false GET /"},
		{strings.SplitAfter(page, ""), "false GET /"},
		{[]string{strings.Replace(page, "close", "keep-alive", 1) + strings.Replace(page, " / ", " /second ", 1)}, "false GET /second"},
		{[]string{"POST /ws HTTP/1.1\r\nHost: relay\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody"}, "false POST /ws"},
		// Not HTTP, or malformed.
		{[]string{"\x16\x03\x01\x00\xff\r\n\r\n" + page}, "400 Bad Request"},
		{[]string{strings.Replace(handshake, "Host: relay\r\n", "", 1)}, "400 Bad Request: missing required Host header"},
		{[]string{strings.Replace(handshake, "Host:", "Transfer-Encoding: x\r\nHost:", 1)}, "Unsupported transfer encoding"},
		{[]string{"GET / HTTP/3.0\r\n\r\n"}, "505 HTTP Version Not Supported: unsupported protocol version"},
	} {
		if answer := s.ask(t, c.pieces...); !strings.HasSuffix(answer, c.want) && !strings.Contains(answer, "\n"+c.want+"\r\n") {
			t.Errorf("%.200q\nis answered with %q, want %q", c.pieces, answer, c.want)
		}
	}
}

// net/http serves HTTP/2 behind the front.
func TestHTTP2(t *testing.T) {
	s := serveTCP(t, false, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
	client := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	defer client.CloseIdleConnections()
	response, err := client.Get("http://" + s.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "HTTP/2.0" {
		t.Errorf("%q, %v", body, err)
	}
}

// Handlers find the same in a request, whether the front or net/http serves it,
// and clients get the same responses.
func TestLikeNetHTTP(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"the request": func(w http.ResponseWriter, r *http.Request) {
			local := r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
			server := r.Context().Value(http.ServerContextKey).(*http.Server)
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			w.Header().Set("Connection", "close")
			fmt.Fprint(w, r.Context().Value(connKey{}), host, local == r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr).String(),
				server.ReadHeaderTimeout, r.Context().Err(), r.TLS, r.Method, r.URL, r.Header)
			n, err := r.Body.Read(make([]byte, 1))
			fmt.Fprint(w, n, err)
		},
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			w.Header().Add("X-A", "b")
			w.Header().Add("X-A", "c\r\nX-Injected: d")
			http.Error(w, "no", http.StatusForbidden)
			w.WriteHeader(http.StatusOK)
		},
		"only a status": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusUpgradeRequired)
		},
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			fmt.Fprint(w, "<html>")
		},
		"nothing": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") },
		"a panic": func(http.ResponseWriter, *http.Request) { panic("bad handler") },
		"aborted": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "part"); panic(http.ErrAbortHandler) },
		"hijacked": func(w http.ResponseWriter, _ *http.Request) {
			conn, buffered, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			frames := make([]byte, 6)
			_, err = io.ReadFull(buffered, frames)
			fmt.Fprint(buffered, string(frames), err)
			_ = buffered.Flush()
			_, _, err = w.(http.Hijacker).Hijack()
			_, failed := w.Write(nil)
			fmt.Fprint(conn, errors.Is(err, http.ErrHijacked), errors.Is(failed, http.ErrHijacked))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var answers [2]string
			var states [2][]http.ConnState
			var logs [2]bool
			for i, plain := range []bool{false, true} {
				served := false
				s := serveTCP(t, plain, func(w http.ResponseWriter, r *http.Request) { served = byFront(w); handler(w, r) })
				answers[i] = withoutDate(t, s.ask(t, handshake+"frames"))
				<-s.ended
				s.stop()
				if served == plain {
					t.Errorf("served by the front: %v", served)
				}
				states[i], logs[i] = slices.DeleteFunc(s.states, func(s http.ConnState) bool { return s == http.StateNew }), hasPanic(t, s.log.String())
			}
			if answers[0] != answers[1] || !reflect.DeepEqual(states[0], states[1]) || logs[0] != logs[1] {
				t.Errorf("the front answers %q, states %v, logs a panic: %v\nnet/http %q, %v, %v",
					answers[0], states[0], logs[0], answers[1], states[1], logs[1])
			}
		})
	}
}

// After a handler has taken the connection over, it closes it itself, also if it
// panics.
func TestPanicAfterHijack(t *testing.T) {
	hijacked := make(chan net.Conn, 1)
	s := serveTCP(t, false, func(w http.ResponseWriter, _ *http.Request) {
		netConn, _, _ := w.(http.Hijacker).Hijack()
		hijacked <- netConn
		panic("bad handler")
	})
	conn := s.dial(t)
	if _, err := io.WriteString(conn, handshake); err != nil {
		t.Fatal(err)
	}
	netConn := <-hijacked
	s.stop()
	if !hasPanic(t, s.log.String()) {
		t.Error("the panic is not logged")
	}
	if _, err := io.WriteString(netConn, "x"); err != nil {
		t.Error(err)
	}
	_ = netConn.Close()
}

// hasPanic reports whether the log has one panic, which is all that it may have.
func hasPanic(t *testing.T, text string) bool {
	first, _, _ := strings.Cut(text, "\n")
	found := strings.HasPrefix(first, "http: panic serving 127.0.0.1:") && strings.HasSuffix(first, ": bad handler") && strings.Contains(text, "goroutine ")
	if !found && text != "" && !strings.Contains(text, "superfluous") {
		t.Errorf("the log is:\n%s", text)
	}
	return found
}

// withoutDate returns the response in a normal form, without its date.
func withoutDate(t *testing.T, text string) string {
	head, body, ok := strings.Cut(text, "\r\n\r\n")
	if !ok {
		return text
	}
	lines := strings.Split(head, "\r\n")
	slices.Sort(lines[1:])
	without := slices.DeleteFunc(lines, func(line string) bool {
		date, ok := strings.CutPrefix(line, "Date: ")
		if _, err := http.ParseTime(date); ok && err != nil {
			t.Errorf("date %q: %v", date, err)
		}
		return ok
	})
	if len(without) == len(strings.Split(head, "\r\n")) {
		t.Errorf("no date: %q", head)
	}
	return strings.Join(without, "\n") + "\n\n" + body
}

// A handler that takes the connection over gets the TCP connection, without
// deadlines, and the bytes that followed the request, whoever has read them.
func TestHijackedConnection(t *testing.T) {
	s := serveTCP(t, false, func(w http.ResponseWriter, r *http.Request) {
		conn, early, err := transport.Hijack(w)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, ok := conn.(*net.TCPConn); !ok {
			t.Errorf("%s: the connection is a %T", r.URL, conn)
		}
		if early == nil {
			early = new([]byte)
		}
		fmt.Fprintf(conn, "%s:%s", r.URL, *early)
	})
	long := "/long?" + strings.Repeat("x", 3000)
	for _, target := range []string{"/ws", "/other", long} {
		for _, early := range []string{"", "early", strings.Repeat("e", 500)} {
			if answer := s.ask(t, strings.Replace(handshake, "/ws", target, 1)+early); answer != target+":"+early {
				t.Errorf("%.20s with %d bytes: %q", target, len(early), answer)
			}
		}
	}
}

// If the client leaves while the handler waits, its context ends. If the client
// sends something, the context does not end, and nothing is lost.
func TestContext(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		results := make(chan string, 1)
		waiting := make(chan struct{})
		s := serveTCP(t, false, func(w http.ResponseWriter, r *http.Request) {
			done := r.Context().Done()
			close(waiting)
			if leaves {
				<-done
				results <- fmt.Sprint(r.Context().Err())
				return
			}
			control := http.NewResponseController(w)
			if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})); err != nil {
				t.Error(err)
			}
			conn, early, err := transport.Hijack(w)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			frames := make([]byte, 6)
			n := 0
			if early != nil {
				n = copy(frames, *early)
			}
			_, err = io.ReadFull(conn, frames[n:])
			results <- fmt.Sprint(string(frames), err, r.Context().Err())
		})
		conn := s.dial(t)
		if _, err := io.WriteString(conn, handshake); err != nil {
			t.Fatal(err)
		}
		<-waiting
		want := "context canceled"
		if leaves {
			_ = conn.Close()
		} else {
			want = "frames<nil> <nil>"
			if _, err := io.WriteString(conn, "frames"); err != nil {
				t.Fatal(err)
			}
		}
		if got := <-results; got != want {
			t.Errorf("the client leaves: %v: %q, want %q", leaves, got, want)
		}
	}
}

// The context ends with the handler.
func TestContextEnds(t *testing.T) {
	contexts := make(chan context.Context, 1)
	s := serveTCP(t, false, func(w http.ResponseWriter, r *http.Request) { contexts <- r.Context() })
	s.ask(t, handshake)
	ctx := <-contexts
	<-ctx.Done()
	if ctx.Err() == nil {
		t.Error("the context has no error")
	}
}

// The time for the head begins when the connection is accepted, also if net/http
// reads the rest. All other connections are served meanwhile.
func TestHeadTimeout(t *testing.T) {
	for _, sent := range []string{"", "G", "POST", handshake[:len(handshake)-1], page[:len(page)-1], strings.Repeat("\n", 10)} {
		synctest.Test(t, func(t *testing.T) {
			l := inmemory.Listen()
			s := serve(t, l, false, func(w http.ResponseWriter, _ *http.Request) { t.Error("the handler is called") })
			client, server := net.Pipe()
			l.Connect(server)
			began := time.Now()
			time.Sleep(3 * time.Second)
			_, _ = io.WriteString(client, sent)
			_, _ = io.Copy(io.Discard, client)
			if after := time.Since(began); after != 5*time.Second && sent[:min(1, len(sent))] != "\n" {
				t.Errorf("after %q the connection is closed after %v", sent, after)
			}
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if n := len(s.states); n == 0 || s.states[n-1] != http.StateClosed {
				t.Errorf("the states are %v", s.states)
			}
			_ = client.Close()
		})
	}
}

// Close closes the connections that have not sent their requests, and those
// whose handlers run, and the front waits for them.
func TestClose(t *testing.T) {
	waiting := make(chan struct{})
	var ended bytes.Buffer
	s := serveTCP(t, false, func(_ http.ResponseWriter, r *http.Request) {
		done := r.Context().Done()
		close(waiting)
		<-done
		ended.WriteString("ended")
	})
	var conns []net.Conn
	for _, sent := range []string{"", handshake[:20], page[:20], handshake} {
		conn := s.dial(t)
		conns = append(conns, conn)
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
	}
	<-waiting
	s.stop()
	if ended.String() != "ended" {
		t.Error("the handler still runs")
	}
	for i, conn := range conns {
		if _, err := bufio.NewReader(conn).ReadByte(); err == nil {
			t.Errorf("connection %d is open", i)
		}
	}
}

// An error of the listener is that of the server, which tries again if it is
// temporary.
func TestAcceptErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, &failingListener{Listener: l, fail: 2}, false, func(http.ResponseWriter, *http.Request) {})
	s.ask(t, page) // net/http serves it after it has logged the errors
	if n := strings.Count(s.log.String(), "http: Accept error: too many open files; retrying in"); n != 2 {
		t.Errorf("the log is:\n%s", s.log.String())
	}
}

// A failingListener fails to accept a few times.
type failingListener struct {
	net.Listener
	fail int
}

// Accept implements [net.Listener].
func (l *failingListener) Accept() (net.Conn, error) {
	if l.fail--; l.fail >= 0 {
		return nil, tooManyFiles{errors.New("too many open files")}
	}
	return l.Listener.Accept()
}

type tooManyFiles struct{ error }

func (tooManyFiles) Timeout() bool   { return false }
func (tooManyFiles) Temporary() bool { return true }

// Any number of handlers can wait at a time, also after few goroutines were
// enough for a while.
func TestConcurrentHandlers(t *testing.T) {
	const many = 50
	var all sync.WaitGroup
	s := serveTCP(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") == "wait" {
			all.Done()
			all.Wait()
		}
		fmt.Fprint(w, "ok")
	})
	for range 3 {
		for range 20 {
			if answer := s.ask(t, handshake); !strings.HasSuffix(answer, "ok") {
				t.Fatal(answer)
			}
		}
		var clients sync.WaitGroup
		all.Add(many)
		for range many {
			conn := s.dial(t)
			clients.Go(func() {
				_, _ = io.WriteString(conn, strings.Replace(handshake, "Host", "Cookie: wait\r\nHost", 1))
				if answer, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(answer), "ok") {
					t.Errorf("%q, %v", answer, err)
				}
			})
		}
		clients.Wait()
	}
}
