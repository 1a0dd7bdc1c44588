package server_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// The clients of the benchmarks live in a process of their own, this test binary again, so that what they cost is not
// counted as the relay's. They read with epoll once a millisecond, because waking a sleeping reader costs the writer
// several microseconds on loopback, which a client over a network never costs it.

const peerVariable = "SIDECAST_BENCH_PEER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(peerVariable); spec != "" {
		if err := runPeer(spec); err != nil {
			fmt.Fprintln(os.Stderr, "bench peer:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A peer is the running process.
type peer struct {
	counters []byte // shared: 8 bytes that are not 0 once all are connected, 8 bytes that count what was read
}

// startPeer connects count clients to the path, where %d is the number of the client, and returns when all are.
func startPeer(b *testing.B, addr, path string, count int) *peer {
	b.Helper()
	file, err := os.CreateTemp(b.TempDir(), "counters")
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(4096); err != nil {
		b.Fatal(err)
	}
	counters, err := syscall.Mmap(int(file.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		b.Fatal(err)
	}
	spec := fmt.Sprintf("%s %s %s %d", file.Name(), addr, path, count)
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), peerVariable+"="+spec, "GOMAXPROCS=1", "GOGC=off")
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = command.Wait()
		_ = syscall.Munmap(counters)
	})
	p := &peer{counters: counters}
	for deadline := time.Now().Add(2 * time.Minute); p.counter(0) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("the clients did not connect in two minutes")
		}
	}
	return p
}

func (p *peer) counter(i int) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&p.counters[8*i])))
}

// read returns how many bytes all clients have read.
func (p *peer) read() uint64 { return p.counter(1) }

// await returns when all clients together have read total bytes.
func (p *peer) await(b *testing.B, total uint64) {
	for deadline := time.Now().Add(time.Minute); p.read() < total; time.Sleep(500 * time.Microsecond) {
		if time.Now().After(deadline) {
			b.Fatalf("the clients have read %d of %d bytes after a minute", p.read(), total)
		}
	}
}

// runPeer is the process.
func runPeer(spec string) error {
	var name, addr, path string
	var count int
	if _, err := fmt.Sscan(spec, &name, &addr, &path, &count); err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	counters, err := syscall.Mmap(int(file.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	poll, err := syscall.EpollCreate1(0)
	if err != nil {
		return err
	}
	for i := range count {
		if err := connect(poll, addr, strings.ReplaceAll(path, "%d", strconv.Itoa(i))); err != nil {
			return err
		}
	}
	go func() { // the parent's end is ours
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&counters[0])), 1)
	return drink(poll, (*uint64)(unsafe.Pointer(&counters[8])))
}

// drink reads whatever comes, for ever.
func drink(poll int, counter *uint64) error {
	events := make([]syscall.EpollEvent, 4096)
	buf := make([]byte, 1<<20)
	for {
		n, err := syscall.EpollWait(poll, events, 0)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for _, event := range events[:max(n, 0)] {
			got, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(event.Fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
			switch {
			case errno != 0:
			case got > 0:
				atomic.AddUint64(counter, uint64(got))
			default:
				_ = syscall.EpollCtl(poll, syscall.EPOLL_CTL_DEL, int(event.Fd), nil)
			}
		}
		if n < len(events) {
			time.Sleep(time.Millisecond)
		}
	}
}

// connect opens one WebSocket connection and hands its descriptor to epoll.
func connect(poll int, addr, path string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	if err := upgrade(conn, path); err != nil {
		return err
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	kept = append(kept, conn)
	var failed error
	err = raw.Control(func(fd uintptr) {
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
		failed = syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, int(fd), &event)
	})
	return errors.Join(err, failed)
}

var kept []net.Conn // so that no finalizer closes them

func upgrade(conn net.Conn, path string) error {
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("%s is answered %s", path, response.Status)
	}
	return nil
}

// cpu is what this process has used.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// A floor is the least that a delivery can cost: one system call on one of many descriptors, by a loop that does nothing
// else. It writes to the relay's own connections while the relay rests, so buffers and readers are the same.
type floor struct {
	net.Listener
	mu  sync.Mutex
	fds []int
}

// Accept notes the descriptor of each connection on its way to the relay.
func (f *floor) Accept() (net.Conn, error) {
	conn, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return conn, raw.Control(func(fd uintptr) { f.fds = append(f.fds, int(fd)) })
}

// send writes frame once to each of fds.
func (f *floor) send(fds []int, frame []byte) {
	for _, fd := range fds {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&frame[0])), uintptr(len(frame)),
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	}
}

// rawFrame is a text frame of the server's with the payload.
func rawFrame(payload []byte) []byte {
	switch n := len(payload); {
	case n < 126:
		return append([]byte{0x81, byte(n)}, payload...)
	default:
		return append(binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(n)), payload...)
	}
}
