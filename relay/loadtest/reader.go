package main

import (
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// A reader reads the connections of clients and feeds them what comes.
type reader interface {
	// take reads conn, the client's connection, from now on, until the relay ends it or the client leaves.
	take(c *client, conn net.Conn) error
	// stop ends reading and waits for that. All clients have left by then.
	stop()
}

// Names of readers.
const (
	readerEpoll     = "epoll"
	readerGoroutine = "goroutine"
)

func knownReader(name string) bool {
	return slices.Contains(strings.Split(readerNames, ", "), name)
}

// A connLink writes to a net.Conn.
type connLink struct{ net.Conn }

func (l connLink) write(b []byte) {
	_ = l.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)) // what does not fit into the kernel is given up
	_, _ = l.Write(b)
}

func (l connLink) close() { _ = l.Close() }

// A routines reader has a goroutine for each client. It is the one for all systems, and for slow clients.
type routines struct {
	ended    func(*client) // called without the shard's lock when the relay has ended a connection
	slowRate int           // bytes a second that slow clients read
	hurry    chan struct{} // closed when slow clients are to read as fast as others
	running  sync.WaitGroup
}

// bufferSize is what each goroutine reads into.
const bufferSize = 1 << 10

func newRoutines(slowRate int, hurry chan struct{}, ended func(*client)) *routines {
	return &routines{ended: ended, slowRate: slowRate, hurry: hurry}
}

func (r *routines) take(c *client, conn net.Conn) error {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	c.phase, c.link = served, connLink{conn}
	generation := c.generation
	r.running.Go(func() {
		if c.slow {
			r.dawdle(c, conn, generation)
		}
		var buf [bufferSize]byte
		for r.read(c, conn, generation, buf[:]) {
		}
	})
	return nil
}

func (r *routines) stop() { r.running.Wait() }

// dawdle reads slowly until there is hurry. A client that does not read at all notices no earlier that it was evicted.
func (r *routines) dawdle(c *client, conn net.Conn, generation int32) {
	const step = 50 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	var buf [bufferSize]byte
	for begun, read := time.Now(), 0; ; {
		select {
		case <-r.hurry:
			return
		case <-tick.C:
		}
		c.shard.mu.Lock()
		left := c.generation != generation
		c.shard.mu.Unlock()
		if left {
			return
		}
		for due := int(float64(r.slowRate) * time.Since(begun).Seconds()); read < due; read += bufferSize {
			if !r.read(c, conn, generation, buf[:]) {
				return
			}
		}
	}
}

// read reads once and reports whether there may be more.
func (r *routines) read(c *client, conn net.Conn, generation int32, buf []byte) bool {
	n, err := conn.Read(buf)
	c.shard.mu.Lock()
	if c.generation != generation {
		c.shard.mu.Unlock()
		return false
	}
	if n > 0 {
		if fault := c.feed(buf[:n], c.course.clock.now()); fault != nil {
			err = fault
		}
	}
	if err != nil {
		c.end()
	}
	c.shard.mu.Unlock()
	if err != nil {
		r.ended(c)
	}
	return err == nil
}
