package server_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// The delays of messages are counted in units of delayWidth.
const (
	delayWidth   = 5 * time.Microsecond
	delayBuckets = 1 << 14
)

// stampLen is the length of the time of publication at the beginning of a paced
// payload: nanoseconds since 1970 in hexadecimal digits.
const stampLen = 16

// pace is the process of a publisher that publishes outsideRate messages per
// second, one at a time, at regular intervals. A message that is late is
// published at once.
func pace(spec peerSpec, memory *shared) error {
	conn, err := net.Dial("tcp", spec.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	fd, err := descriptor(conn.(*net.TCPConn))
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	const setTimerSlack = 29 // PR_SET_TIMERSLACK: the default of 50 us is half an interval
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1, 0)
	memory.ready.Store(1)
	interval := time.Second / outsideRate
	replies, next, due := make([]byte, 4096), 0, time.Now()
	for sent := uint64(0); ; sent++ {
		for sent == memory.toPublish.Load() {
			time.Sleep(5 * time.Millisecond)
			due = time.Now()
		}
		if wait := time.Until(due); wait > 0 {
			pause := syscall.NsecToTimespec(int64(wait))
			_ = syscall.Nanosleep(&pause, nil)
		}
		due = due.Add(interval)
		name := fmt.Sprintf(spec.Path, next)
		next = (next + 7) % spec.Count
		command := fmt.Sprintf("*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%0*x%s\r\n",
			len(name), name, len(payload), stampLen, time.Now().UnixNano(), payload[stampLen:])
		if _, err := syscall.Write(fd, []byte(command)); err != nil {
			return err
		}
		_, _ = syscall.Read(fd, replies)
	}
}

// descriptor returns the descriptor of conn, which must stay open.
func descriptor(conn *net.TCPConn) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Control(func(n uintptr) { fd = int(n) })
	return fd, err
}

// wait receives paced messages, and sleeps while there are none.
func (f *fleet) wait() error {
	events, buf := make([]syscall.EpollEvent, 256), make([]byte, 64<<10)
	frame := len(rawFrame(payload))
	head := frame - len(payload)
	for {
		n, err := syscall.EpollWait(f.poll, events, -1)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for _, event := range events[:max(n, 0)] {
			got, _ := syscall.Read(int(event.Fd), buf)
			if got <= 0 {
				return fmt.Errorf("reading from the relay: %d", got)
			}
			if got%frame != 0 {
				return fmt.Errorf("the relay sent %d bytes, which are not whole messages", got)
			}
			now := time.Now().UnixNano()
			for at := head; at < got; at += frame {
				stamp, err := strconv.ParseInt(string(buf[at:at+stampLen]), 16, 64)
				if err != nil {
					return err
				}
				f.memory.delays[min(max((now-stamp)/int64(delayWidth), 0), delayBuckets-1)].Add(1)
			}
			f.memory.bytesRead.Add(uint64(got))
		}
	}
}

// serveFloor is the process of the floor: it accepts the clients, and then does
// the least that a relay in Go can do.
func serveFloor(spec peerSpec, memory *shared) error {
	l, err := net.Listen("tcp", spec.Addr)
	if err != nil {
		return err
	}
	redis, err := net.Dial("tcp", spec.Redis)
	if err != nil {
		return err
	}
	if _, err := redis.Write([]byte("*2\r\n$10\r\nPSUBSCRIBE\r\n$2\r\nf*\r\n")); err != nil {
		return err
	}
	memory.ready.Store(1)
	fds := make([]int, spec.Count)
	var conns []net.Conn // so that no finalizer closes them
	for range spec.Count {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		if err := acceptFloor(conn.(*net.TCPConn), fds); err != nil {
			return err
		}
	}
	defer runtime.KeepAlive(conns)
	return forward(redis, fds)
}

// acceptFloor answers a handshake, and records the descriptor by the number of
// the client.
func acceptFloor(conn *net.TCPConn, fds []int) error {
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	i, err := strconv.Atoi(strings.TrimPrefix(request.URL.Query().Get("channel"), "f"))
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
		return err
	}
	fds[i], err = descriptor(conn)
	return err
}

// forward reads messages from Redis and sends each to one client.
func forward(redis net.Conn, fds []int) error {
	// After the last line of this come the digits of the channel's number.
	channel := []byte("\r\n$2\r\nf*\r\n$")
	end := fmt.Appendf(nil, "\r\n$%d\r\n", len(payload))
	frame := rawFrame(payload)
	head := len(frame) - len(payload)
	buf, w := make([]byte, 16<<10), 0
	for {
		n, err := redis.Read(buf[w:])
		if err != nil {
			return err
		}
		w += n
		r := 0
		for {
			at := bytes.Index(buf[r:w], channel)
			if at < 0 {
				break
			}
			at += r + len(channel) + len("5\r\nf")
			size := bytes.Index(buf[min(at, w):w], end)
			if size < 0 || at+size+len(end)+len(payload)+2 > w {
				break
			}
			i := 0
			for _, digit := range buf[at : at+size] {
				i = 10*i + int(digit-'0')
			}
			at += size + len(end)
			copy(frame[head:], buf[at:at+len(payload)])
			_, _, _ = syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fds[i]), uintptr(unsafe.Pointer(&frame[0])), uintptr(len(frame)),
				syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
			r = at + len(payload) + 2
		}
		w = copy(buf, buf[r:w])
	}
}
