package server_test

import (
	"syscall"
	"testing"
	"time"
)

const (
	// manyClients is how many clients one relay serves in the workload many.
	manyClients = 19_000
	// otherFiles is how many more descriptors that relay and its clients need at
	// most: for listeners, event loops, and connections whose handshake has not
	// ended.
	otherFiles = 500
)

// many serves 19,000 clients with as many slots for connections, and sends one
// message to all of them.
func many(b *testing.B) []figure {
	return measureApart(b, "^BenchmarkManyClients$", 1,
		figure{unit: "served", least: manyClients},
		figure{unit: "B/conn-natural", most: 2200}, figure{unit: "B/conn", most: 1400}, figure{unit: "ms-to-all"})
}

// BenchmarkManyClients is the relay of the workload many.
func BenchmarkManyClients(b *testing.B) {
	raiseFileLimit(b, manyClients+otherFiles)
	r, p := measureIdle(b, peerSpec{Role: "read", Path: "/?channel=a", Count: manyClients, Frame: len(rawFrame(payload))},
		func(o *relayOptions) { o.slots = manyClients })
	began := time.Now()
	r.hub.Publish([]byte("a"), payload)
	r.hub.Flush()
	await(b, "the clients to receive the message", func() bool { return p.received() >= manyClients })
	b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-to-all")
	b.ReportMetric(float64(min(p.received(), r.hub.Sessions())), "served")
}

// received returns how many messages the clients have received.
func (p *peer) received() (n int) {
	for i := range p.buckets {
		n += int(p.buckets[i].Load())
	}
	return n
}

// raiseFileLimit lets this process, and those that it starts, open n files.
func raiseFileLimit(b *testing.B, n uint64) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	hard := limit.Max
	limit.Cur, limit.Max = n, max(n, limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatalf("%d clients need %d open files, but the hard limit is %d (%v): raise it with ulimit -Hn",
			manyClients, n, hard, err)
	}
}
