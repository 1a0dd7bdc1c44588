package resp

import (
	"bytes"
	"strings"
	"testing"
)

// TestSkipperSkipsOneReply feeds each reply in pieces of every size, followed
// by another reply that must stay untouched.
func TestSkipperSkipsOneReply(t *testing.T) {
	tests := []string{
		"+OK\r\n", "-ERR no\r\n", ":-12\r\n", "_\r\n", ",inf\r\n", "#t\r\n", "(12345678901234567890\r\n",
		"$0\r\n\r\n", "$3\r\n\r\n\r\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "!5\r\nERR x\r\n", "=7\r\ntxt:abc\r\n",
		"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n", "%2\r\n+a\r\n:1\r\n+b\r\n*2\r\n#f\r\n_\r\n",
		"~2\r\n:1\r\n:2\r\n", ">2\r\n+a\r\n+b\r\n",
		"*2\r\n|1\r\n+ttl\r\n:3\r\n:1\r\n:2\r\n", "|1\r\n+a\r\n%1\r\n+x\r\n+y\r\n+OK\r\n", "%0\r\n",
		"*1\r\n*1\r\n*1\r\n*0\r\n",
	}
	for _, reply := range tests {
		for size := 1; size <= len(reply); size++ {
			var s Skipper
			s.Start(1, MaxBulk)
			rest, pending := []byte(reply+"+next\r\n"), []byte(nil)
			for s.Active() {
				n := min(size, len(rest))
				pending, rest = append(pending, rest[:n]...), rest[n:]
				skipped, err := s.Skip(pending)
				if err != nil || n == 0 {
					t.Fatalf("%q in pieces of %d: %v", reply, size, err)
				}
				pending = pending[skipped:]
			}
			if left := append(bytes.Clone(pending), rest...); string(left) != "+next\r\n" {
				t.Errorf("%q in pieces of %d: left %q", reply, size, left)
			}
		}
	}
}

func TestSkipperRejectsMalformedReplies(t *testing.T) {
	for _, reply := range []string{
		"x\r\n", "\r\n", "+\n", "*x\r\n", "*\r\n", "*-2\r\n", "$+1\r\nx\r\n", "$1\r\nxyz", "$9\r\n", "*99999999999\r\n",
		"*65537\r\n",
		"|-2\r\n", "+" + strings.Repeat("x", MaxLine) + "\r\n", strings.Repeat("*2\r\n", MaxDepth+1),
	} {
		var s Skipper
		s.Start(1, 8)
		if _, err := s.Skip([]byte(reply)); err != ErrMalformed {
			t.Errorf("%.40q: %v, want %v", reply, err, ErrMalformed)
		}
	}
}
