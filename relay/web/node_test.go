package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"sidecast/relay/relaytest/npm"
	"sidecast/relay/relaytest/redistest"
)

// npmInstall installs the client, as npm pack makes it, and other packages into a
// new directory, which it returns.
func npmInstall(t *testing.T, packages ...string) string {
	t.Helper()
	redistest.Require(t, "npm", "npm")
	source, err := filepath.Abs("client")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	npm.Run(t, dir, "pack", "--silent", source)
	archives, err := filepath.Glob(filepath.Join(dir, "sidecast-*.tgz"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("npm pack made %q: %v", archives, err)
	}
	return npm.Install(t, append([]string{archives[0]}, packages...)...)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A nodeProcess is a running script. It reads commands from its standard input
// and writes events to its standard output, a JSON text in each line.
type nodeProcess struct {
	t     *testing.T
	stdin io.Writer

	mu      sync.Mutex
	changed chan struct{} // closed and replaced with each event; closed at the end
	events  []nodeEvent
	ended   bool
}

// A nodeEvent is one line of a script.
type nodeEvent struct {
	Kind  string          `json:"kind"`
	Value json.RawMessage `json:"value"`
	At    time.Time       `json:"-"` // when it was read
}

// text returns the value if it is a string, otherwise its JSON.
func (e nodeEvent) text() (text string) {
	if json.Unmarshal(e.Value, &text) != nil {
		return string(e.Value)
	}
	return text
}

// node runs a script in a directory with packages until the test ends.
func node(t *testing.T, dir, script string, arguments ...string) *nodeProcess {
	t.Helper()
	path := filepath.Join(dir, "script.mjs")
	write(t, path, script)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "node", append([]string{path}, arguments...)...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &nodeProcess{t: t, stdin: stdin, changed: make(chan struct{})}
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		p.read(stdout)
	}()
	t.Cleanup(func() {
		cancel()
		<-reading
		_ = cmd.Wait() // it was killed
	})
	return p
}

func (p *nodeProcess) read(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var event nodeEvent
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			event.Kind, event.Value = "output", []byte(strconv.Quote(lines.Text()))
		}
		event.At = time.Now()
		p.mu.Lock()
		p.events = append(p.events, event)
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	p.mu.Lock()
	p.ended = true
	close(p.changed)
	p.mu.Unlock()
}

// awaitAll returns the first n events of a kind.
func (p *nodeProcess) awaitAll(kind string, n int) (values []string) {
	p.t.Helper()
	for i := range n {
		values = append(values, p.await(kind, i))
	}
	return values
}

// since returns the events from index n on.
func (p *nodeProcess) since(n int) []nodeEvent {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		p.t.Fatalf("the script has ended")
	}
	return p.events[n:]
}

// await returns the nth event of a kind, from 0.
func (p *nodeProcess) await(kind string, n int) string {
	p.t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for {
		p.mu.Lock()
		events, changed, ended := p.events, p.changed, p.ended
		p.mu.Unlock()
		seen := 0
		for _, e := range events {
			if e.Kind != kind {
				continue
			}
			if seen == n {
				return e.text()
			}
			seen++
		}
		if ended {
			p.t.Fatalf("the script ended without event %d of kind %q: %v", n, kind, events)
		}
		select {
		case <-changed:
		case <-limit.C:
			p.t.Fatalf("no event %d of kind %q: %v", n, kind, events)
		}
	}
}
