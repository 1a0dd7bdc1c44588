package embedded

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2/server"
)

func TestRequests(t *testing.T) {
	const ping = "*1\r\n$4\r\nPING\r\n"
	tests := []struct {
		name, stream string
		good         int // bytes passed on
		err          error
	}{
		{"nothing", "", 0, nil},
		{"one request", ping, len(ping), nil},
		{"two and a half", ping + ping + "*2\r\n$4\r\nPI", 2*len(ping) + 10, nil},
		{"an empty argument", "*2\r\n$4\r\nPING\r\n$0\r\n\r\n" + ping, 20 + len(ping), nil},
		{"headers inside an argument", "*1\r\n$4\r\n*0\r\n\r\n" + ping, 14 + len(ping), nil},
		{"as many arguments as there may be", "*65536\r\n", 8, nil},
		{"one more", "*65537\r\n", 7, errTooBig},
		{"as many bytes as there may be", "*1\r\n$67108864\r\n", 15, nil},
		{"one more byte", "*1\r\n$67108865\r\n", 14, errTooBig},
		{"arguments that are too large together", "*2\r\n$1\r\nx\r\n$67108864\r\n", 21, errTooBig},
		{"no arguments", ping + "*0\r\n", len(ping) + 3, errRequest},
		{"no digits", "*\r\n", 2, errRequest},
		{"a sign", "*+1\r\n", 4, errRequest},
		{"a lone line feed", "*1\n", 2, errRequest},
		{"a string where an array belongs", "$4\r\nPING\r\n", 3, errRequest},
		{"an array where a string belongs", "*1\r\n*1\r\n", 7, errRequest},
		{"a long header", "*" + strings.Repeat("0", 20) + "1\r\n", maxHeader, errRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r requests
			if good, err := r.take([]byte(tt.stream)); good != tt.good || !errors.Is(err, tt.err) {
				t.Errorf("take = %d, %v; want %d, %v", good, err, tt.good, tt.err)
			}
		})
	}
}

// However a stream is cut, the same bytes are passed on, and those do not crash miniredis's reader.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{
		"*1\r\n$4\r\nPING\r\n", "*0\r\n", "*2\r\n$0\r\n\r\n$1\r\nx\r\n*", "$1\r\n", "*1\r\n$-1\r\n", "*65537\r\n", "*1\r\n$9999999\r\n",
	} {
		f.Add([]byte(seed), uint8(1))
		f.Add([]byte(seed), uint8(7))
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		var whole, pieces requests
		good, err := whole.take(stream)
		passed := 0
		for rest := stream; len(rest) > 0; {
			piece := rest[:min(len(rest), max(1, int(step)))]
			n, bad := pieces.take(piece)
			passed += n
			if bad != nil {
				if !errors.Is(bad, err) {
					t.Errorf("in pieces: %v; at once: %v", bad, err)
				}
				break
			}
			rest = rest[len(piece):]
		}
		if passed != good {
			t.Errorf("in pieces %d bytes pass, at once %d", passed, good)
		}
		feed(t, stream[:good])
	})
}

// feed lets miniredis read requests, none of which it knows.
func feed(t *testing.T, stream []byte) {
	reader := server.NewServerConn()
	ours, theirs := net.Pipe()
	reader.ServeConn(theirs)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = io.Copy(io.Discard, ours)
	}()
	if _, err := ours.Write(stream); err != nil {
		t.Errorf("feeding: %v", err)
	}
	_ = ours.Close()
	<-answered
	reader.Close()
}
