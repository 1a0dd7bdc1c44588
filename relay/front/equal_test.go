package front_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/relaytest/inmemory"
)

// rare are parts of requests that servers treat differently.
var rare = []string{
	"\r", "\n", "\r\n", "\r\n\r\n", "\n\n", "\n\r\n", " ", "\t", "\x00", "\x7f", "\x80", "ä", ":", "\r\n folded", "\v", "\f", "(", `"`,
	"http://other.example", "//", "*", "%", "%2f", "%00", "..", "#", "?", "@", "[", "]", ";", "HTTP/1.0", "HTTP/2.0", "close",
	"Host: other\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "Expect: 100-continue\r\n",
	"Trailer: X-A\r\n", "Upgrade: websocket\r\n", "Pragma: no-cache\r\n", "GET / HTTP/1.1\r\n", "Host:", "X-A:\r\n",
}

// mutate changes a request at random.
func mutate(r *rand.Rand, request string) string {
	for range r.IntN(4) {
		i := r.IntN(len(request) + 1)
		part := rare[r.IntN(len(rare))]
		lines := strings.SplitAfter(request, "\r\n")
		line := &lines[r.IntN(len(lines))]
		switch r.IntN(5) {
		case 0: // insert
			request = request[:i] + part + request[i:]
		case 1: // delete
			request = request[:i] + request[min(len(request), i+1+r.IntN(4)):]
		case 2: // insert any byte
			request = request[:i] + string([]byte{byte(r.IntN(256))}) + request[i:]
		case 3: // at the beginning of a line
			*line = part + *line
			request = strings.Join(lines, "")
		case 4: // repeat or move a line
			*line += lines[r.IntN(len(lines))]
			request = strings.Join(lines, "")
		}
	}
	return request
}

// describe answers with what it finds in a request.
func describe(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	fmt.Fprintf(w, "%q %#v %q %q %q %d.%d %q\n", r.Method, r.URL, r.RequestURI, r.Host, r.Proto, r.ProtoMajor, r.ProtoMinor, r.Header)
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%d %q %v %q %v %v %q %v", r.ContentLength, r.TransferEncoding, r.Close, r.Pattern, r.Trailer, r.TLS, body, err)
}

// A sending is a request of which the first part is sent a second earlier.
type sending struct {
	request string
	first   int
}

// A reply is what a server sends, and when it begins to.
type reply struct {
	text  string
	after time.Duration
}

// replies returns the replies of one server to clients that send requests and
// wait.
func replies(t *testing.T, plain bool, all []sending) (list []reply) {
	synctest.Test(t, func(t *testing.T) {
		l := inmemory.Listen()
		s := serve(t, l, plain, describe)
		for _, sent := range all {
			client, server := net.Pipe()
			l.Connect(server)
			began := time.Now()
			_ = client.SetDeadline(began.Add(20 * time.Second)) // some servers wait for a body
			go func() {
				if sent.first > 0 {
					_, _ = io.WriteString(client, sent.request[:sent.first])
					time.Sleep(time.Second)
				}
				_, _ = io.WriteString(client, sent.request[sent.first:])
			}()
			first := make([]byte, 1)
			n, _ := client.Read(first)
			after := time.Since(began)
			rest, _ := io.ReadAll(client)
			_ = client.Close()
			time.Sleep(time.Second)
			list = append(list, reply{withoutDates(string(first[:n]) + string(rest)), after})
		}
		s.stop()
	})
	return list
}

// withoutDates returns the lines of a response in a normal order, without dates.
func withoutDates(text string) string {
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	lines := slices.DeleteFunc(strings.Split(head, "\r\n"), func(line string) bool { return strings.HasPrefix(line, "Date: ") })
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n\n" + body
}

// Any request gets the same response with and without the front, however it is
// split, and an accepted request gets it at the same time. A request that is
// refused may wait until its head has ended.
func TestSameReplies(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	const full = "GET /ws?channel=a HTTP/1.1\r\nHost: relay.example:8080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nPragma: no-cache\r\nCache-Control: no-cache\r\nX-A: b\r\nX-A: c\r\n\r\n"
	all := []sending{
		// Without CR, and so that net/http does not have to wait for more.
		{request: "GET / HTTP/1.1\nHost: relay\n\n"},
		{request: strings.ReplaceAll(full, "\r\n", "\n")},
		{request: "GET /ws HTTP/1.1\r\nHost: relay\r\n\n"},
		{request: "GET / HTTP/1.0\n\n"},
		{request: "GET / HTTP/1.1\nHost: relay\n\n", first: 15},
		{request: "GET / HTTP/1.1\nHost: relay\n\n", first: 14},
	}
	for _, request := range []string{full + "frames", page, strings.ReplaceAll(full, "\r\n", "\n")} {
		for i := range len(request) {
			all = append(all, sending{request, i})
		}
	}
	for range 1000 {
		request := mutate(r, []string{handshake, page, full, full, full + "frames"}[r.IntN(5)])
		all = append(all, sending{request, max(0, r.IntN(2*len(request)+1)-len(request))})
	}
	got, want := replies(t, false, all), replies(t, true, all)
	for i, sent := range all {
		accepted := strings.Contains(want[i].text, "HTTP/1.1 200 OK")
		if got[i].text != want[i].text || accepted && got[i].after != want[i].after || got[i].after > want[i].after+5*time.Second {
			t.Errorf("seed %d: %q after %q\nis answered after %v with %q\nby net/http after %v with %q", seed,
				sent.request[sent.first:], sent.request[:sent.first], got[i].after, got[i].text, want[i].after, want[i].text)
		}
	}
}
