package embedded

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2/server"
)

func TestRequestFilter(t *testing.T) {
	const ping = "*1\r\n$4\r\nPING\r\n"
	tests := []struct {
		name, stream string
		accepted     int // bytes passed on
		err          error
	}{
		{"nothing", "", 0, nil},
		{"one request", ping, len(ping), nil},
		{"two requests and half of a third", ping + ping + "*2\r\n$4\r\nPI", 2*len(ping) + 10, nil},
		{"an empty argument", "*2\r\n$4\r\nPING\r\n$0\r\n\r\n" + ping, 20 + len(ping), nil},
		{"headers inside an argument", "*1\r\n$4\r\n*0\r\n\r\n" + ping, 14 + len(ping), nil},
		{"the maximum number of arguments", "*65536\r\n", 8, nil},
		{"one argument too many", "*65537\r\n", 7, errTooBig},
		{"the maximum number of bytes", "*1\r\n$67108864\r\n", 15, nil},
		{"one byte too many", "*1\r\n$67108865\r\n", 14, errTooBig},
		{"arguments that are too large together", "*2\r\n$1\r\nx\r\n$67108864\r\n", 21, errTooBig},
		{"no arguments", ping + "*0\r\n", len(ping) + 3, errRequest},
		{"no digits", "*\r\n", 2, errRequest},
		{"a sign", "*+1\r\n", 4, errRequest},
		{"a lone line feed", "*1\n", 2, errRequest},
		{"a string instead of an array", "$4\r\nPING\r\n", 3, errRequest},
		{"an array instead of a string", "*1\r\n*1\r\n", 7, errRequest},
		{"a long header", "*" + strings.Repeat("0", 20) + "1\r\n", maxHeader, errRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var f requestFilter
			if accepted, err := f.accept([]byte(tt.stream)); accepted != tt.accepted || !errors.Is(err, tt.err) {
				t.Errorf("accept = %d, %v; want %d, %v", accepted, err, tt.accepted, tt.err)
			}
		})
	}
}

// The same bytes are passed on no matter how the stream is split, and these
// bytes do not crash miniredis's reader.
func FuzzRequestFilter(f *testing.F) {
	for _, seed := range []string{
		"*1\r\n$4\r\nPING\r\n", "*0\r\n", "*2\r\n$0\r\n\r\n$1\r\nx\r\n*", "$1\r\n", "*1\r\n$-1\r\n", "*65537\r\n", "*1\r\n$9999999\r\n",
	} {
		f.Add([]byte(seed), uint8(1))
		f.Add([]byte(seed), uint8(7))
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		var whole, pieces requestFilter
		accepted, err := whole.accept(stream)
		passed := 0
		for rest := stream; len(rest) > 0; {
			piece := rest[:min(len(rest), max(1, int(step)))]
			n, invalid := pieces.accept(piece)
			passed += n
			if invalid != nil {
				if !errors.Is(invalid, err) {
					t.Errorf("in pieces: %v; at once: %v", invalid, err)
				}
				break
			}
			rest = rest[len(piece):]
		}
		if passed != accepted {
			t.Errorf("in pieces %d bytes pass, at once %d", passed, accepted)
		}
		feed(t, stream[:accepted])
	})
}

// feed makes miniredis read requests. It has no commands registered, so each
// one is unknown.
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
		t.Errorf("writing to miniredis: %v", err)
	}
	_ = ours.Close()
	<-answered
	reader.Close()
}
