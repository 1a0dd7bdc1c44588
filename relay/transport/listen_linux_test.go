package transport

import (
	"net"
	"syscall"
	"testing"
)

// Accepted connections have the send buffer's size and no keep-alive probes.
func TestListen(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0")
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
	if size := option(syscall.SO_SNDBUF); size != 2*128<<10 { // Linux doubles the value
		t.Errorf("the send buffer has %d bytes", size)
	}
	if option(syscall.SO_KEEPALIVE) != 0 {
		t.Error("the kernel sends keep-alive probes")
	}
}
