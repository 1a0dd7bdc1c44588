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

// The clients, the publisher and the simulated Redis run in other processes, so
// that their CPU time is not counted as the relay's. These processes run the
// same test binary.

// peerVariable makes the test binary run as a peer; its value is the peerSpec.
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

// A peerSpec describes a peer.
type peerSpec struct {
	Role  string // read, paced, stuck, storm, ramp, wait, http2, publish, pace, redis or floor
	Addr  string
	Path  string // clients: of the URL; %d stands for the number of the client
	Count int    // clients: their number; publish: number of channels
	TLS   bool   // read
	Frame int    // read: size of a frame in bytes, to measure delivery times; 0 measures no times
	Redis string // floor: address of Redis

	Offer   string // read: the subprotocol that each client offers; empty for none
	Command string // read: the message that each client sends; empty for none

	File string // of the shared memory; set by startPeer
}

// shared is the memory that a peer shares with this process.
type shared struct {
	ready     atomic.Uint64 // not 0 when the peer is ready
	bytesRead atomic.Uint64 // bytes that all clients have read
	toPublish atomic.Uint64 // messages that the peer must have published since the start

	times   [1 << 12]atomic.Int64  // when a message was published, Unix time in nanoseconds, by its number
	buckets [1 << 12]atomic.Uint64 // number of deliveries, by delivery time in units of bucketWidth

	delays [delayBuckets]atomic.Uint64 // the same for clients that wait, in units of delayWidth
}

const bucketWidth = 250 * time.Microsecond

// mapShared maps the file into memory until the process ends.
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
	return (*shared)(unsafe.Pointer(unsafe.SliceData(memory))), nil
}

// A peer is a running process.
type peer struct {
	*shared
	pid      int
	expected uint64 // value of bytesRead after all published messages
	stop     func() // ends the process; the benchmark's cleanup calls it too
}

// startPeer starts a peer and returns when it is ready: all its clients are
// connected.
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
	command.Env = append(os.Environ(), peerVariable+"="+string(text))
	if spec.Role != "floor" {
		command.Env = append(command.Env, "GOMAXPROCS=1", "GOGC=400")
	}
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	p.pid = command.Process.Pid
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

// expect returns when all clients together have read n more bytes. It counts
// the bytes of pings too, so it may return slightly too early.
func (p *peer) expect(b *testing.B, n uint64) {
	p.expected += n
	for deadline := time.Now().Add(time.Minute); p.bytesRead.Load() < p.expected; time.Sleep(500 * time.Microsecond) {
		if time.Now().After(deadline) {
			b.Fatalf("the clients have read %d of %d bytes after a minute", p.bytesRead.Load(), p.expected)
		}
	}
	p.expected = p.bytesRead.Load()
}

// runPeer is the main function of a peer.
func runPeer(text string) error {
	var spec peerSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	memory, err := mapShared(spec.File)
	if err != nil {
		return err
	}
	go func() { // ends this process when its parent closes the pipe or ends
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	switch spec.Role {
	case "publish":
		return publish(spec, memory)
	case "redis":
		return serveFakeRedis(spec, memory)
	case "pace":
		return pace(spec, memory)
	case "floor":
		return serveFloor(spec, memory)
	case "http2":
		return openStreams(spec, memory)
	}
	return runClients(spec, memory)
}

// cpu returns the CPU time of this process.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
