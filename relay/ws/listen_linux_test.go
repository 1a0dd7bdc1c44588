package ws_test

import (
	"net"
	"syscall"
	"testing"

	"sidecast/relay/ws"
)

// Connections have the send buffer that slow clients are allowed, and no probes of the kernel's.
func TestListen(t *testing.T) {
	l, err := ws.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(name int) (value int) {
		if err := raw.Control(func(fd uintptr) { value, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, name) }); err != nil {
			t.Fatal(err)
		}
		return value
	}
	if size := option(syscall.SO_SNDBUF); size != 2*128<<10 { // Linux doubles what it is told
		t.Errorf("the send buffer has %d bytes", size)
	}
	if option(syscall.SO_KEEPALIVE) != 0 {
		t.Error("the kernel probes the peer")
	}
}
