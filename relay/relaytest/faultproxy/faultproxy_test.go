package faultproxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"sidecast/relay/relaytest/faultproxy"
)

// echo starts a server that sends back everything that it receives, and returns
// its address.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func dial(t *testing.T, p *faultproxy.Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// roundTrip sends text and expects it back.
func roundTrip(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	expect(t, conn, text)
}

func expect(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v", got, err)
	}
}

// wantSilence checks that nothing arrives for 50 ms.
func wantSilence(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	_ = conn.SetReadDeadline(time.Time{})
}

func TestForwards(t *testing.T) {
	p := faultproxy.Start(t, echo(t))
	p.Record(faultproxy.ToServer)
	conn := dial(t, p)
	roundTrip(t, conn, "hello")
	if got := p.Recorded(faultproxy.ToServer); string(got) != "hello" {
		t.Fatalf("recorded %q", got)
	}
	if p.Opened() != 1 || p.Open() != 1 {
		t.Fatalf("opened %d, open %d", p.Opened(), p.Open())
	}
}

func TestHoldsAndReleases(t *testing.T) {
	for _, direction := range faultproxy.Both {
		p := faultproxy.Start(t, echo(t))
		conn := dial(t, p)
		roundTrip(t, conn, "before")
		p.Hold(direction)
		if _, err := conn.Write([]byte("held")); err != nil {
			t.Fatal(err)
		}
		wantSilence(t, conn)
		p.Release(direction)
		expect(t, conn, "held")
	}
}

func TestHeldConnectionsCanBeClosed(t *testing.T) {
	for name, end := range map[string]func(*faultproxy.Proxy){
		"cut": (*faultproxy.Proxy).Cut, "reset": (*faultproxy.Proxy).Reset,
	} {
		t.Run(name, func(t *testing.T) {
			p := faultproxy.Start(t, echo(t))
			conn := dial(t, p)
			roundTrip(t, conn, "before")
			p.Hold(faultproxy.Both...)
			if _, err := conn.Write([]byte("held")); err != nil {
				t.Fatal(err)
			}
			wantSilence(t, conn)
			end(p)
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Fatal("the held bytes arrived")
			}
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for p.Open() > 0 { // if this never ends the test times out
				<-tick.C
			}
		})
	}
}

// TestEnds: Cut sends a FIN, Reset a RST, and new connections are forwarded.
func TestEnds(t *testing.T) {
	for _, test := range []struct {
		end  func(*faultproxy.Proxy)
		want error
	}{{(*faultproxy.Proxy).Cut, io.EOF}, {(*faultproxy.Proxy).Reset, syscall.ECONNRESET}} {
		if test.want != io.EOF && runtime.GOOS == "windows" {
			continue // Windows has another error for it
		}
		p := faultproxy.Start(t, echo(t))
		conn := dial(t, p)
		roundTrip(t, conn, "before")
		test.end(p)
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, test.want) {
			t.Errorf("read %v, want %v", err, test.want)
		}
		roundTrip(t, dial(t, p), "a new one")
	}
}

func TestResetAfter(t *testing.T) {
	p := faultproxy.Start(t, echo(t))
	conn := dial(t, p)
	p.ResetAfter(faultproxy.ToClient, 3)
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err == nil || !bytes.HasPrefix([]byte("hel"), got) { // the RST may overtake the bytes before it
		t.Fatalf("got %q, %v", got, err)
	}
	roundTrip(t, dial(t, p), "only once")
}

func TestDelays(t *testing.T) {
	p := faultproxy.Start(t, echo(t))
	p.Trace()
	conn := dial(t, p)
	roundTrip(t, conn, "before")
	p.Delay(faultproxy.ToClient, 100*time.Millisecond, 50*time.Millisecond)
	began := time.Now()
	roundTrip(t, conn, "delayed")
	took := time.Since(began)
	if took < 100*time.Millisecond {
		t.Errorf("the delay was %v", took)
	}
	client := conn.LocalAddr().String()
	first, last := p.PassedAt(client, 1), p.PassedAt(client, int64(len("beforedelayed")))
	if first.After(began) || last.Before(began) || began.Add(took).Sub(last) < 100*time.Millisecond {
		t.Errorf("the server's bytes arrived at %v and %v; the second write was at %v", first, last, began)
	}
	if more := p.PassedAt(client, 100); !more.IsZero() {
		t.Errorf("bytes that were never sent arrived at %v", more)
	}
	p.Delay(faultproxy.ToClient, 0, 0)
	roundTrip(t, conn, string(make([]byte, 1<<20)))
}
