package source

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// TestRedact checks that an error shows neither a password that the server
// repeats nor, by the letters that are missing, what the password is.
func TestRedact(t *testing.T) {
	usual := "WRONGPASS invalid username-password pair or user is disabled."
	dial := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6379}, Err: io.EOF}
	for _, tt := range []struct {
		password string
		err      error
		want     string
	}{
		{"password", refusal(usual), usual},
		{"invalid", fmt.Errorf("logging in: %w", refusal(usual)), "logging in: " + usual},
		{"1", dial, "dial tcp 127.0.0.1:6379: EOF"},
		{"redis", refusal("MISCONF Redis of redis cannot save"), "MISCONF Redis of redis cannot save"},
		{"role", &deniedError{"NOPERM User relay has no permissions to run the 'role' command"},
			"NOPERM User relay has no permissions to run the 'role' command"},
		{"hunter2", refusal("ERR unknown command 'AUTH', with args beginning with: 'relay' 'hunter2' "),
			"ERR unknown command 'AUTH', with args beginning with: [redacted]"},
		{"AUTH", refusal("ERR unknown command 'AUTH', with args beginning with: 'AUTH' "),
			"an answer that may contain the password: [redacted]"},
		{"", refusal("ERR unknown command 'PUBLISH', with args beginning with: 'chat' 'a secret payload' "),
			"ERR unknown command 'PUBLISH', with args beginning with: [redacted]"},
		{"hunter2", &replyError{"ERR invalid password hunter2"}, "an answer that may contain the password: [redacted]"},
		{"hunter2", &sentinelError{errors.Join(fmt.Errorf("a:1: %w", refusal("ERR no hunter2")), fmt.Errorf("b:1: %w", dial))},
			"asking the Sentinels for the master: a:1: an answer that may contain the password: [redacted]\nb:1: dial tcp 127.0.0.1:6379: EOF"},
	} {
		if text := (Server{Password: tt.password}).Redact(tt.err); text != tt.want {
			t.Errorf("password %q: %s\nwant %s", tt.password, text, tt.want)
		}
		rotated := Server{Credentials: func() (string, string, error) { return "", tt.password, nil }}
		if text := rotated.Redact(tt.err); text != tt.want {
			t.Errorf("password %q from a file: %s\nwant %s", tt.password, text, tt.want)
		}
	}
	err := streamError(refusal("ERR unknown command 'XADD', with args beginning with: 'order:7' '*' 'data' 'hunter2' "))
	if strings.Contains(err.Error(), "hunter2") || replyOf(err) == "" {
		t.Errorf("the error of a stream is %v", err)
	}
}
