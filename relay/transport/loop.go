package transport

import (
	"bytes"
	"sync"
)

// A loop reads from many connections with one goroutine, which never waits for a
// client, for Redis or for the application. A connection that does nothing costs
// it an entry in its table.
//
// The loop owns the reading end of each connection while nothing was received
// from it, or only control frames and parts of messages. For everything else it
// lends the connection to another goroutine, and ignores its events until it
// gets the connection back.
type loop struct {
	kernel  Kernel
	poller  Poller
	table   table
	workers sync.WaitGroup // goroutines that run commands: one for each client that has sent one
	endings workerPool

	// Owned by run.
	buf       [readBuffer]byte
	events    [maxEvents]Event
	readAgain []Receiver // whose connections may be readable, although no event will say so; the oldest first
}

// maxEvents is the most events that the loop handles in one turn, and the most
// connections that it reads again.
const maxEvents = 256

func newLoop(k Kernel) (*loop, error) {
	poller, err := k.NewPoller()
	if err != nil {
		return nil, err
	}
	l := &loop{kernel: k, poller: poller}
	l.endings.run = l.end
	return l, nil
}

// run reads until the poller is closed. In each turn it reads at most once from
// each connection, so that a client that sends all the time does not delay
// others. A turn reads as many connections that have something left as it
// handles events: so a client waits for about as many reads as there are clients,
// even if all of the others send all the time.
func (l *loop) run() {
	for {
		n, err := l.poller.Wait(l.events[:], len(l.readAgain) == 0)
		if err != nil {
			return
		}
		again := l.readAgain[:min(len(l.readAgain), maxEvents)]
		for _, e := range l.events[:n] {
			if r := l.table.find(e.Tag); r != nil {
				l.handle(r, e)
			}
		}
		for _, r := range again {
			r.base().polled.inReadAgain = false
			l.read(r, true)
		}
		clear(again)
		if l.readAgain = l.readAgain[len(again):]; len(l.readAgain) == 0 {
			l.readAgain = nil
		}
	}
}

func (l *loop) handle(r Receiver, e Event) {
	if e.Writable {
		r.base().Outbox.Writable()
	}
	if e.Readable && !r.base().polled.inReadAgain { // otherwise it is read soon anyway
		l.read(r, e.ReadAll)
	}
}

// read reads once. all is set if no event may follow although there is more to
// read: events say only that something has changed.
func (l *loop) read(r Receiver, all bool) {
	s := &r.base().polled
	if !s.loopOwns() {
		return
	}
	if s.expired.Load() {
		l.finish(r)
		return
	}
	n, err := l.kernel.Read(s.fd, l.buf[:])
	switch {
	case err == ErrAgain:
		return
	case err != nil || n == 0:
		l.finish(r)
		return
	}
	if all || n == len(l.buf) {
		s.inReadAgain = true
		l.readAgain = append(l.readAgain, r)
	}
	if !s.left {
		l.receive(r, l.buf[:n])
	}
}

func (l *loop) receive(r Receiver, b []byte) {
	switch rest, next := receive(r, b); next {
	case Work:
		rest = bytes.Clone(rest)
		r.base().polled.lend()
		l.workers.Go(func() { l.work(r, rest) })
	case End:
		l.finish(r)
	}
}

// work runs a client's command, and those that it has sent together with it.
func (l *loop) work(r Receiver, rest []byte) {
	if work(r, rest) {
		r.base().polled.giveBack()
		return
	}
	l.end(r)
}

// finish has the session ended, or if that is done, the connection closed.
func (l *loop) finish(r Receiver) {
	r.base().polled.lend()
	l.endings.add(r)
}

// end is what finish leaves to another goroutine, because it may wait.
func (l *loop) end(r Receiver) {
	c := r.base()
	s := &c.polled
	if !s.left {
		expired := s.expired.Load()
		if r.Leave(expired) != CloseNow && !expired && !c.evicted() { // otherwise the client already had its time
			s.left = true
			s.Expire(LingerTime)
			s.giveBackReadable()
			return
		}
	}
	c.Shut()
	l.table.remove(s.tag)
	r.Closed()
}

// serve begins to read from r's connection. early are bytes that arrived before;
// it may be nil.
func (l *loop) serve(r Receiver, early *[]byte) {
	s := &r.base().polled
	l.table.add(r)
	if early != nil {
		s.lend()
	}
	if err := l.poller.Add(s.fd, s.tag); err != nil { // the kernel has no memory for it
		s.expired.Store(true) // so that its end waits for no event
		l.finish(r)
		return
	}
	if early != nil {
		l.workers.Go(func() { l.begin(r, *early) })
	}
}

// begin handles what has arrived before the loop.
func (l *loop) begin(r Receiver, early []byte) {
	switch rest, next := receive(r, early); next {
	case More:
		r.base().polled.giveBack()
	case Work:
		l.work(r, rest)
	case End:
		l.end(r)
	}
}
