package server_test

import (
	"bytes"
	"testing"
	"time"
)

// BenchmarkBigMessage sends a message of a million bytes to 600 clients that
// read 3 MB/s each, once, with the default settings. It counts the clients that
// were evicted, and the share of the bytes that the clients have read.
func BenchmarkBigMessage(b *testing.B) {
	const clients, size = 600, 1_000_000
	r := startRelay(b)
	r.hub.Online(1)
	p := startPeer(b, peerSpec{Role: "paced", Addr: r.addr, Path: "/?channel=a", Count: clients})
	await(b, "the clients to join", func() bool { return r.hub.Sessions() == clients })
	message := bytes.Repeat([]byte("x"), size)
	began := time.Now()
	r.hub.Publish([]byte("a"), message)
	r.hub.Flush()
	last, read := began, uint64(0)
	await(b, "the clients to read everything", func() bool {
		if n := p.bytesRead.Load(); n > read {
			last, read = time.Now(), n
		}
		return read > 0 && r.budget.Used() == 0 && time.Since(last) > time.Second
	})
	b.ReportMetric(float64(r.evictions()), "evicted")
	b.ReportMetric(float64(last.Sub(began)), "read-ns")
	b.ReportMetric(float64(read)/(clients*size)*100, "%-read")
	b.ReportMetric(0, "ns/op")
}
