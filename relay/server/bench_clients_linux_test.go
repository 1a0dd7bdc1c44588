package server_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// A drinker is the clients of one peer. They read with epoll once a millisecond, because waking a sleeping reader costs
// the writer several microseconds on loopback, which a client over a network never costs it. None of them decrypts.
type drinker struct {
	spec   peerSpec
	memory *shared
	poll   int
	heard  map[int32]int // bytes, by descriptor

	mu   sync.Mutex
	kept []net.Conn // so that no finalizer closes them
}

// drink is the process of the clients.
func drink(spec peerSpec, memory *shared) error {
	poll, err := syscall.EpollCreate1(0)
	if err != nil {
		return err
	}
	d := &drinker{spec: spec, memory: memory, poll: poll, heard: make(map[int32]int)}
	if err := d.connectAll(); err != nil {
		return err
	}
	memory.ready.Store(1)
	if spec.Role == "stuck" {
		select {}
	}
	return d.drink()
}

// connectAll connects the clients one after the other, or at once if they are a storm.
func (d *drinker) connectAll() error {
	if d.spec.Role != "storm" {
		for i := range d.spec.Count {
			if err := d.connect(i); err != nil {
				return err
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	errs := make([]error, d.spec.Count)
	for i := range d.spec.Count {
		wg.Go(func() { errs[i] = d.connect(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// connect opens one WebSocket connection and hands its descriptor to epoll.
func (d *drinker) connect(i int) error {
	dialer := net.Dialer{}
	if d.spec.Role == "stuck" {
		dialer.Control = func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
		}
	}
	conn, err := dialer.Dial("tcp", d.spec.Addr)
	if err != nil {
		return err
	}
	shaken := conn
	if d.spec.TLS {
		shaken = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // the relay of this benchmark signed for itself
	}
	if err := upgrade(shaken, strings.ReplaceAll(d.spec.Path, "%d", strconv.Itoa(i))); err != nil {
		return err
	}
	d.mu.Lock()
	d.kept = append(d.kept, conn, shaken)
	d.mu.Unlock()
	return watch(d.poll, conn)
}

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

// drink reads whatever comes, for ever.
func (d *drinker) drink() error {
	events := make([]syscall.EpollEvent, 4096)
	buf := make([]byte, 1<<20)
	for {
		n, err := syscall.EpollWait(d.poll, events, 0)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for _, event := range events[:max(n, 0)] {
			got, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(event.Fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
			switch {
			case errno != 0:
			case got > 0:
				d.memory.read.Add(uint64(got))
				if d.spec.Frame > 0 {
					d.time(event.Fd, int(got))
				}
			default:
				_ = syscall.EpollCtl(d.poll, syscall.EPOLL_CTL_DEL, int(event.Fd), nil)
			}
		}
		if n < len(events) {
			time.Sleep(time.Millisecond)
		}
	}
}

// time notes how long each message was on its way that the n bytes complete.
func (d *drinker) time(fd int32, n int) {
	before := d.heard[fd] / d.spec.Frame
	d.heard[fd] += n
	now := time.Now().UnixNano()
	for i := before; i < d.heard[fd]/d.spec.Frame; i++ {
		took := time.Duration(now - d.memory.times[i%len(d.memory.times)].Load())
		d.memory.buckets[min(max(int(took/bucketWidth), 0), len(d.memory.buckets)-1)].Add(1)
	}
}

// A floor is the least that a delivery can cost: one system call on one of many descriptors, by a loop that does nothing
// else. It writes to the relay's own connections while the relay rests, so buffers and readers are the same.
type floor struct {
	net.Listener
	mu  sync.Mutex
	fds []int // guarded by mu until all are connected
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
