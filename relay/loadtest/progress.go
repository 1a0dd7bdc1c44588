package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A progress shows what happens now: on one line of a terminal, or else with one line a second.
type progress struct {
	out      io.Writer
	terminal bool
	shown    bool // owned by whoever shows: there is one at a time
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// every shows what line returns again and again, until the function that it returns is called, which waits for the last.
func (p *progress) every(line func() string) (stop func()) {
	interval := time.Second
	if p.terminal {
		interval /= 5
	}
	done := make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				p.show(line())
			}
		}
	})
	return func() {
		close(done)
		showing.Wait()
	}
}

func (p *progress) show(line string) {
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
		p.shown = true
		return
	}
	fmt.Fprintln(p.out, line)
}

// clear takes the line off a terminal.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
