package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Epoll is the default because 10,000 idle clients make this process 32 MiB large, and with a goroutine each 64 MiB; and
// because a message to all of them wakes one thread for each core in place of 10,000 goroutines.
const (
	defaultReader = readerEpoll
	readerNames   = readerEpoll + ", " + readerGoroutine
)

// newReader returns the reader that the options ask for; slow reads the slow clients.
func newReader(o *options, clients []*client, shards []*shard, slow *routines) (reader, error) {
	if o.reader == readerGoroutine {
		return slow, nil
	}
	p := &pollers{slow: slow, every: o.poll}
	for range shards {
		fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return nil, fmt.Errorf("making an epoll: %w", err)
		}
		p.fds = append(p.fds, fd)
	}
	for _, fd := range p.fds {
		p.running.Go(func() { p.loop(fd, clients) })
	}
	return p, nil
}

// Pollers read with one epoll, one goroutine and one buffer for each shard. Clients are in the shard of their number.
type pollers struct {
	fds     []int
	slow    *routines
	every   time.Duration // between looks; 0: as soon as there is something
	stopped atomic.Bool
	running sync.WaitGroup
}

const (
	pollBuffer  = 256 << 10
	pollTimeout = 100 // ms; how long stop may take
)

// An fdLink writes to a non-blocking descriptor.
type fdLink int

func (l fdLink) write(b []byte) { _, _ = unix.Write(int(l), b) }

func (l fdLink) close() { _ = unix.Close(int(l)) }

// take gives the connection a descriptor that Go's own poller does not know, and closes conn.
func (p *pollers) take(c *client, conn net.Conn) error {
	if c.slow {
		return p.slow.take(c, conn)
	}
	fd, err := detach(conn)
	if err != nil {
		return err
	}
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: c.id, Pad: c.generation}
	if err := unix.EpollCtl(p.fds[int(c.id)%len(p.fds)], unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("adding to an epoll: %w", err)
	}
	c.phase, c.link = served, fdLink(fd)
	return nil
}

func detach(conn net.Conn) (int, error) {
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("detaching a connection: %w", err)
	}
	fd := -1
	if outer := raw.Control(func(old uintptr) {
		fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3)
	}); outer != nil || err != nil {
		return 0, fmt.Errorf("detaching a connection: %w", errors.Join(outer, err))
	}
	return fd, nil // still non-blocking: that belongs to the connection, not to the descriptor
}

// stop ends the loops and the slow clients' goroutines.
func (p *pollers) stop() {
	p.stopped.Store(true)
	p.running.Wait()
	for _, fd := range p.fds {
		_ = unix.Close(fd)
	}
	p.slow.stop()
}

func (p *pollers) loop(fd int, clients []*client) {
	events := make([]unix.EpollEvent, 1024)
	buf := make([]byte, pollBuffer)
	timeout := pollTimeout
	if p.every > 0 {
		timeout = 0
	}
	for !p.stopped.Load() {
		n, err := unix.EpollWait(fd, events, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic(fmt.Sprintf("waiting for an epoll of our own: %v", err))
		}
		for _, event := range events[:max(n, 0)] {
			p.read(clients[event.Fd], event.Pad, buf)
		}
		if n < len(events) && p.every > 0 {
			time.Sleep(p.every)
		}
	}
}

// read reads once what there is.
func (p *pollers) read(c *client, generation int32, buf []byte) {
	c.shard.mu.Lock()
	fd, ok := c.link.(fdLink)
	if !ok || c.generation != generation {
		c.shard.mu.Unlock()
		return
	}
	n, err := unix.Read(int(fd), buf)
	switch {
	case n > 0:
		err = c.feed(buf[:n], c.course.clock.now())
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		err = nil
	case err == nil:
		err = io.EOF
	}
	if err != nil {
		c.end()
	}
	c.shard.mu.Unlock()
	if err != nil {
		p.slow.ended(c)
	}
}
