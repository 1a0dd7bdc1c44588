package server_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// What the relay serves lives in processes of its own, this test binary again, so that what it costs is not counted as the
// relay's: the clients, who publishes to Redis, and a Redis that says nothing but messages.

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

// A peerSpec says what a peer does.
type peerSpec struct {
	Role  string // drink, stuck, storm, publish or redis
	Addr  string
	Path  string // drink, stuck, storm: of the URL, in which %d is the number of the client
	Count int    // drink, stuck, storm: of clients; publish: of channels
	TLS   bool   // drink
	Frame int    // drink: bytes of a message, whose time on the way is measured; 0 for none

	File string // of the shared memory; filled in by startPeer
}

// shared is the memory that a peer and its parent have in common.
type shared struct {
	ready  atomic.Uint64 // not 0 once all are connected
	read   atomic.Uint64 // bytes that all clients have read
	wanted atomic.Uint64 // messages that are to be published, since the start

	times   [1 << 12]atomic.Int64  // when a message was published, Unix time in nanoseconds, by its number
	buckets [1 << 12]atomic.Uint64 // deliveries, by the time that they took in units of bucketWidth
}

const bucketWidth = 250 * time.Microsecond

func mapShared(name string) (*shared, error) {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size := int(unsafe.Sizeof(shared{}))
	if err := file.Truncate(int64(size)); err != nil {
		return nil, err
	}
	memory, err := syscall.Mmap(int(file.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*shared)(unsafe.Pointer(unsafe.SliceData(memory))), nil // mapped until the process ends
}

// A peer is the running process.
type peer struct {
	*shared
	expected uint64 // bytes, of all that were published so far
	stop     func() // ends it; called by the test's cleanup too
}

// startPeer starts a peer and returns when it is ready: its clients are connected.
func startPeer(b *testing.B, spec peerSpec) *peer {
	b.Helper()
	file, err := os.CreateTemp(b.TempDir(), "shared")
	if err != nil {
		b.Fatal(err)
	}
	_ = file.Close()
	spec.File = file.Name()
	p := new(peer)
	if p.shared, err = mapShared(spec.File); err != nil {
		b.Fatal(err)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		b.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), peerVariable+"="+string(text), "GOMAXPROCS=1", "GOGC=400")
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	p.stop = func() {
		_ = stdin.Close()
		_ = command.Wait()
	}
	b.Cleanup(p.stop)
	for deadline := time.Now().Add(2 * time.Minute); p.ready.Load() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("the peer was not ready in two minutes")
		}
	}
	return p
}

// expect returns when all clients together have read n bytes more. Pings count too, so it may return a few early.
func (p *peer) expect(b *testing.B, n uint64) {
	p.expected += n
	for deadline := time.Now().Add(time.Minute); p.read.Load() < p.expected; time.Sleep(500 * time.Microsecond) {
		if time.Now().After(deadline) {
			b.Fatalf("the clients have read %d of %d bytes after a minute", p.read.Load(), p.expected)
		}
	}
	p.expected = p.read.Load()
}

// runPeer is the process.
func runPeer(text string) error {
	var spec peerSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	memory, err := mapShared(spec.File)
	if err != nil {
		return err
	}
	go func() { // the parent's end is ours
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	switch spec.Role {
	case "publish":
		return publish(spec, memory)
	case "redis":
		return blast(spec, memory)
	}
	return drink(spec, memory)
}

// cpu is what this process has used.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
