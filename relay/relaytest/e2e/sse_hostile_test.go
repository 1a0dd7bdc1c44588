package e2e_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// The types of HTTP/2 frames that the attacks send (RFC 9113 section 6).
const (
	http2Headers      = 0x1
	http2Reset        = 0x3
	http2Settings     = 0x4
	http2Ping         = 0x6
	http2Continuation = 0x9
)

// http2Frame appends a frame.
func http2Frame(b []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	b = append(b, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// http2Preface begins a connection.
func http2Preface() []byte {
	return http2Frame([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), http2Settings, 0, 0, nil)
}

// http2Request returns the headers of a request for an event stream, without
// compression (RFC 7541).
func http2Request(path string) []byte {
	b := []byte{0x82, 0x86} // GET, http
	b = append(append(b, 0x04, byte(len(path))), path...)
	return append(b, 0x01, 1, 'x') // :authority
}

// endStream and endHeaders are flags of a request.
const endStream, endHeaders = 0x1, 0x4

// http2Attacks are the bytes that hostile clients send, and whether they keep
// the connection open then.
var http2Attacks = map[string]func() []byte{
	"thousands of streams": func() []byte {
		b := http2Preface()
		for i := range uint32(5000) {
			b = http2Frame(b, http2Headers, endStream|endHeaders, 2*i+1, http2Request("/sse?channel=honest:0"))
		}
		return b
	},
	"streams that are reset at once": func() []byte {
		b := http2Preface()
		for i := range uint32(20_000) {
			b = http2Frame(b, http2Headers, endStream|endHeaders, 2*i+1, http2Request("/sse?channel=honest:0"))
			b = http2Frame(b, http2Reset, 0, 2*i+1, []byte{0, 0, 0, 8})
		}
		return b
	},
	"headers without end": func() []byte {
		b := http2Frame(http2Preface(), http2Headers, endStream, 1, http2Request("/sse?channel=honest:0"))
		for range 5000 {
			b = http2Frame(b, http2Continuation, 0, 1, append([]byte{0x00, 1, 'h', 0x7f, 0x81, 0x7f}, bytes.Repeat([]byte("x"), 16_000)...))
		}
		return b
	},
	"a flood of settings and pings": func() []byte {
		b := http2Preface()
		for range 50_000 {
			b = http2Frame(http2Frame(b, http2Settings, 0, 0, nil), http2Ping, 0, 0, []byte("12345678"))
		}
		return b
	},
	"a preface and nothing else": http2Preface,
	"a part of the preface":      func() []byte { return http2Preface()[:10] },
	"a part of a request":        func() []byte { return []byte("GET /sse?channel=honest:0 HTTP/1.1\r\nHost: x\r\nA") },
	"bytes after the request": func() []byte {
		return append([]byte("GET /sse?channel=honest:0 HTTP/1.1\r\nHost: x\r\n\r\n"), make([]byte, 1<<20)...)
	},
}

// TestHostileStreams checks that clients that attack HTTP/2 or the streams get
// no more places and memory than others, that honest clients miss nothing, and
// that nothing of them is left.
func TestHostileStreams(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, map[string]string{"SIDECAST_MAX_CONNECTIONS": "2000"})
	names := channels("honest", 2)
	honest := listenFleet(t, relay, 10, names...)
	p := publisher(t, server, relaytest.Payloads{})
	stop := traffic(t, p, names, 10*time.Millisecond)
	before := peakMemory(t, relay)
	var conns []net.Conn
	for name, attack := range http2Attacks {
		bytes := attack()
		for range orLong(3, 20) {
			conn, err := net.Dial("tcp", relay.Addr())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
			t.Cleanup(func() { _ = conn.Close() })
			_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second)) // the client does not read, so the relay stops reading
			_, _ = conn.Write(bytes)
		}
		if n := total(t, relay, "sidecast_connections{"); n > float64(len(honest)+250*len(conns)) {
			t.Errorf("%s: %v clients", name, n)
		}
	}
	if n := metric(t, relay, "sidecast_sockets"); n > 2000 {
		t.Errorf("%v connections are counted", n)
	}
	// A quarter of the connections has 250 streams each. One needs about 40 KiB,
	// and several times that with the race detector. If they were not limited,
	// there would be 75,000.
	after, most := peakMemory(t, relay), float64(30*len(conns))
	t.Logf("peak memory %.0f MiB before, %.0f MiB after", before, after)
	if after-before > most {
		t.Errorf("the relay grew from %.0f to %.0f MiB", before, after)
	}
	stop()
	finish(t, p, honest)
	if report := checkContract(t, relaytest.Run{Published: p.Log(), Sessions: honest.Sessions()}); report.Gaps > 0 {
		t.Errorf("%d gaps", report.Gaps)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	awaitMetric(t, relay, "sidecast_sockets", func(n float64) bool { return n == float64(len(honest)) })
}

// TestLargeHeaders checks the answer to a request with too many headers, and
// that the last id of many channels is not too long.
func TestLargeHeaders(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, redistest.Start(t), nil)
	for _, version := range []string{"HTTP/1.1", "h2c"} {
		client := httpVersion(t, version, nil)
		for size, want := range map[int]int{7_000: http.StatusOK, 30_000: http.StatusRequestHeaderFieldsTooLarge} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+relay.Addr()+"/sse?channel=a", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Last-Event-ID", strings.Repeat("x", size))
			response, err := client.Do(request)
			if err != nil {
				// A client of HTTP/2 keeps to the limit that the relay tells it. If
				// it has not received it yet, the relay closes the connection.
				if want == http.StatusOK || version == "HTTP/1.1" {
					t.Errorf("%s, %d bytes: %v", version, size, err)
				}
				continue
			}
			if response.StatusCode != want {
				body, _ := io.ReadAll(response.Body)
				t.Errorf("%s, %d bytes: %s %s", version, size, response.Status, fmt.Sprintf("%.100s", body))
			}
			_ = response.Body.Close()
		}
	}
}
