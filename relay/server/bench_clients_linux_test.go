package server_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// receiveBuffers are the receive buffers of clients by role, in bytes, if they
// are not the system's.
var receiveBuffers = map[string]int{"stuck": 4 << 10, "paced": 64 << 10}

// In the role "paced", each client reads at most pacedBytes every pacedPause,
// which is 3 MB/s.
const (
	pacedBytes = 60_000
	pacedPause = 20 * time.Millisecond
)

// A fleet holds the clients of one peer. They read with epoll once per
// millisecond: on loopback, waking a sleeping reader costs the writer several
// microseconds, which a client in a network does not cost. The clients do not
// decrypt TLS.
type fleet struct {
	spec     peerSpec
	memory   *shared
	poll     int
	received map[int32]int // bytes, by file descriptor

	mu    sync.Mutex
	conns []net.Conn // so that no finalizer closes them
}

// runClients is the process of the clients.
func runClients(spec peerSpec, memory *shared) error {
	poll, err := syscall.EpollCreate1(0)
	if err != nil {
		return err
	}
	f := &fleet{spec: spec, memory: memory, poll: poll, received: make(map[int32]int)}
	if spec.Role == "ramp" {
		go f.connectEvenly()
		return f.read()
	}
	if err := f.connectAll(); err != nil {
		return err
	}
	memory.ready.Store(1)
	switch spec.Role {
	case "stuck":
		select {}
	case "wait":
		return f.wait()
	}
	return f.read()
}

// connectAll connects the clients one after the other, or all concurrently in
// the role "storm".
func (f *fleet) connectAll() error {
	if f.spec.Role != "storm" {
		for i := range f.spec.Count {
			if err := f.connect(i); err != nil {
				return err
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	errs := make([]error, f.spec.Count)
	for i := range f.spec.Count {
		wg.Go(func() { errs[i] = f.connect(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// rampTime is how long the clients in the role "ramp" take to connect. Those that
// are connected read meanwhile.
const rampTime = 10 * time.Second

// connectEvenly connects the clients of the role "ramp".
func (f *fleet) connectEvenly() {
	began := time.Now()
	for i := range f.spec.Count {
		time.Sleep(time.Until(began.Add(rampTime * time.Duration(i) / time.Duration(f.spec.Count))))
		if err := f.connect(i); err != nil {
			fmt.Fprintln(os.Stderr, "bench peer:", err)
			os.Exit(1)
		}
	}
	f.memory.ready.Store(1)
}

// connect opens one connection and adds it to epoll.
func (f *fleet) connect(i int) error {
	dialer := net.Dialer{}
	if size := receiveBuffers[f.spec.Role]; size > 0 {
		dialer.Control = func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size) })
		}
	}
	conn, err := dialer.Dial("tcp", f.spec.Addr)
	if err != nil {
		return err
	}
	secured := conn
	if f.spec.TLS {
		secured = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // the certificate is self-signed
	}
	if err := join(secured, strings.ReplaceAll(f.spec.Path, "%d", strconv.Itoa(i)), f.spec.Offer); err != nil {
		return err
	}
	if f.spec.Command != "" {
		if _, err := secured.Write(maskedFrame(f.spec.Command)); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.conns = append(f.conns, conn, secured)
	f.mu.Unlock()
	return watch(f.poll, conn)
}

// openStreams opens event streams over HTTP/2, 100 on each connection, as
// browsers do at most. It does not return.
func openStreams(spec peerSpec, memory *shared) error {
	var client *http.Client
	for i := range spec.Count {
		if i%100 == 0 {
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetUnencryptedHTTP2(true)
			client = &http.Client{Transport: transport}
		}
		response, err := client.Get("http://" + spec.Addr + spec.Path)
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("the relay answers %s with %s", spec.Path, response.Status)
		}
	}
	memory.ready.Store(1)
	select {}
}

// watch adds conn to epoll.
func watch(poll int, conn net.Conn) error {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
		failed = syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, int(fd), &event)
	})
	return errors.Join(err, failed)
}

// maskedFrame returns a client's text frame with a short message. The mask is 0.
func maskedFrame(message string) []byte {
	return append([]byte{0x81, 0x80 | byte(len(message)), 0, 0, 0, 0}, message...)
}

// join requests a WebSocket, or an event stream. It offers a subprotocol unless
// offer is empty.
func join(conn net.Conn, path, offer string) error {
	status, headers := http.StatusSwitchingProtocols, "Connection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if offer != "" {
		headers += "Sec-WebSocket-Protocol: " + offer + "\r\n"
	}
	if strings.HasPrefix(path, "/sse") {
		status, headers = http.StatusOK, "Accept: text/event-stream\r\n"
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path, headers); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	if response.StatusCode != status {
		return fmt.Errorf("the relay answers %s with %s", path, response.Status)
	}
	return nil
}

// read reads from all connections until the process ends.
func (f *fleet) read() error {
	events := make([]syscall.EpollEvent, 4096)
	buf, pause := make([]byte, 1<<20), time.Millisecond
	if f.spec.Role == "paced" {
		buf, pause = buf[:pacedBytes], pacedPause
	}
	for {
		n, err := syscall.EpollWait(f.poll, events, 0)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for _, event := range events[:max(n, 0)] {
			got, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(event.Fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
			switch {
			case errno != 0:
			case got > 0:
				f.memory.bytesRead.Add(uint64(got))
				if f.spec.Frame > 0 {
					f.time(event.Fd, int(got))
				}
			default:
				_ = syscall.EpollCtl(f.poll, syscall.EPOLL_CTL_DEL, int(event.Fd), nil)
			}
		}
		if n < len(events) {
			time.Sleep(pause)
		}
	}
}

// time records the delivery time of each message that the next n bytes
// complete.
func (f *fleet) time(fd int32, n int) {
	before := f.received[fd] / f.spec.Frame
	f.received[fd] += n
	now := time.Now().UnixNano()
	for i := before; i < f.received[fd]/f.spec.Frame; i++ {
		took := time.Duration(now - f.memory.times[i%len(f.memory.times)].Load())
		f.memory.buckets[min(max(int(took/bucketWidth), 0), len(f.memory.buckets)-1)].Add(1)
	}
}

// A floor makes deliveries at the lowest possible cost: one system call on one
// of many descriptors, in a loop that does nothing else. It writes to the
// relay's own connections while the relay is idle, so that buffers and readers
// are the same.
type floor struct{ fds []int }

// newFloor returns a floor for the n clients that are connected to r.
func newFloor(b *testing.B, r *testRelay, n int) *floor {
	b.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		b.Fatal(err)
	}
	f := new(floor)
	for _, file := range files {
		if fd, err := strconv.Atoi(file.Name()); err == nil && serves(fd, r.addr) {
			f.fds = append(f.fds, fd)
		}
	}
	if len(f.fds) != n {
		b.Fatalf("%d clients are connected, want %d", len(f.fds), n)
	}
	return f
}

// serves reports whether a descriptor is a connection that a server at addr has
// accepted.
func serves(fd int, addr string) bool {
	if _, err := syscall.Getpeername(fd); err != nil {
		return false
	}
	local, err := syscall.Getsockname(fd)
	ip4, ok := local.(*syscall.SockaddrInet4)
	return err == nil && ok && netip.AddrPortFrom(netip.AddrFrom4(ip4.Addr), uint16(ip4.Port)).String() == addr
}

// send writes frame once to each of fds.
func (f *floor) send(fds []int, frame []byte) {
	for _, fd := range fds {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&frame[0])), uintptr(len(frame)),
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	}
}

// rawFrame returns the relay's text frame with the payload.
func rawFrame(payload []byte) []byte {
	switch n := len(payload); {
	case n < 126:
		return append([]byte{0x81, byte(n)}, payload...)
	default:
		return append(binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(n)), payload...)
	}
}
