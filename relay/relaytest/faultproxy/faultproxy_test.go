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

// echo starts a server that sends back what it gets, and returns its address.
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

// say sends text and expects it back.
func say(t *testing.T, conn net.Conn, text string) {
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

// silent checks that nothing comes for a moment.
func silent(t *testing.T, conn net.Conn) {
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
	say(t, conn, "hello")
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
		say(t, conn, "before")
		p.Hold(direction)
		if _, err := conn.Write([]byte("held")); err != nil {
			t.Fatal(err)
		}
		silent(t, conn)
		p.Release(direction)
		expect(t, conn, "held")
	}
}

func TestEndsWhatIsHeld(t *testing.T) {
	for name, end := range map[string]func(*faultproxy.Proxy){"cut": (*faultproxy.Proxy).Cut, "reset": (*faultproxy.Proxy).Reset} {
		t.Run(name, func(t *testing.T) {
			p := faultproxy.Start(t, echo(t))
			conn := dial(t, p)
			say(t, conn, "before")
			p.Hold(faultproxy.Both...)
			if _, err := conn.Write([]byte("held")); err != nil {
				t.Fatal(err)
			}
			silent(t, conn)
			end(p)
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Fatal("what was held arrived")
			}
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for p.Open() > 0 { // a test that hangs here times out
				<-tick.C
			}
		})
	}
}

func TestCutIsAnEnd(t *testing.T) {
	p := faultproxy.Start(t, echo(t))
	conn := dial(t, p)
	say(t, conn, "before")
	p.Cut()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("read %v", err)
	}
	say(t, dial(t, p), "a new one")
}

func TestResetIsAReset(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("windows names it otherwise")
	}
	p := faultproxy.Start(t, echo(t))
	conn := dial(t, p)
	say(t, conn, "before")
	p.Reset()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read %v", err)
	}
}

func TestResetsInTheMiddle(t *testing.T) {
	p := faultproxy.Start(t, echo(t))
	conn := dial(t, p)
	p.ResetAfter(faultproxy.ToClient, 3)
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err == nil || !bytes.HasPrefix([]byte("hel"), got) { // the RST may overtake what it follows
		t.Fatalf("got %q, %v", got, err)
	}
	say(t, dial(t, p), "only once")
}

func TestRefuses(t *testing.T) {
	p := faultproxy.Start(t, echo(t))
	p.Refuse(true)
	if _, err := dial(t, p).Read(make([]byte, 1)); err == nil {
		t.Fatal("a refused connection was served")
	}
	p.Refuse(false)
	say(t, dial(t, p), "again")
}

func TestThrottles(t *testing.T) {
	p := faultproxy.Start(t, echo(t))
	conn := dial(t, p)
	p.Throttle(faultproxy.ToClient, 1000) // 10 bytes every 10 ms
	began := time.Now()
	say(t, conn, string(make([]byte, 100)))
	if took := time.Since(began); took < 90*time.Millisecond {
		t.Fatalf("100 bytes took %v", took)
	}
	p.Throttle(faultproxy.ToClient, 0)
	say(t, conn, string(make([]byte, 1<<20)))
}

func TestDelays(t *testing.T) {
	p := faultproxy.Start(t, echo(t))
	p.Trace()
	conn := dial(t, p)
	say(t, conn, "before")
	p.Delay(faultproxy.ToClient, 100*time.Millisecond, 50*time.Millisecond)
	began := time.Now()
	say(t, conn, "delayed")
	took := time.Since(began)
	if took < 100*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	first, last := p.PassedAt(conn.LocalAddr().String(), 1), p.PassedAt(conn.LocalAddr().String(), int64(len("beforedelayed")))
	if first.After(began) || last.Before(began) || began.Add(took).Sub(last) < 100*time.Millisecond {
		t.Errorf("the server's bytes came at %v and %v; the second began at %v", first, last, began)
	}
	if more := p.PassedAt(conn.LocalAddr().String(), 100); !more.IsZero() {
		t.Errorf("what never came came at %v", more)
	}
	p.Delay(faultproxy.ToClient, 0, 0)
	say(t, conn, string(make([]byte, 1<<20)))
}

func TestRetargets(t *testing.T) {
	p := faultproxy.Start(t, "127.0.0.1:1")
	if _, err := dial(t, p).Read(make([]byte, 1)); err == nil {
		t.Fatal("nobody answered")
	}
	p.Retarget(echo(t))
	say(t, dial(t, p), "there")
}
