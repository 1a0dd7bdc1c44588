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
		{"Redis", refusal(saveFails), saveFails},
		{"redis", fmt.Errorf("%w: %w", ErrUnavailable, dial), "redis is unavailable: dial tcp 127.0.0.1:6379: EOF"},
		{"master", &sentinelError{dial}, "asking the Sentinels for the master: dial tcp 127.0.0.1:6379: EOF"},
		{"replica", errReplica, errReplica.Error()},
		{"server", streamError(Server{}, refusal("LOADING Redis is loading the dataset in memory")),
			"redis is unavailable: the server is loading its data: wait (LOADING Redis is loading the dataset in memory)"},
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
}

const saveFails = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that " +
	"may modify the data set are disabled, because this instance is configured to report errors during writes if RDB " +
	"snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error."

// echoes are errors about answers that repeat a password, as a proxy or another
// program sends them.
func echoes(password string) []error {
	var errs []error
	for _, begin := range []string{
		"ERR bad request: ", "NOPERM bad request: ", "NOPERM User ", "MOVED 1 ", "MOVED 1 127.0.0.1:6379 ", "ASK 1 ", "BUSY ",
		"LOADING Redis is loading the dataset in memory ", "NOAUTH HELLO must be called with the client already authenticated, ",
		"DENIED Redis is running in protected mode because protected mode is enabled ", "WRONGPASS ",
	} {
		errs = append(errs, refusal(begin+password), &replyError{begin + password + " more"}, &deniedError{begin + password})
	}
	return append(errs,
		refusal("NOPERM User relay has no permissions to run the '"+password+"' command"),
		refusal("MOVED 1 "+password+":6379"),
		refusal("ERR line\nwith more: "+password),
		refusal(fmt.Sprintf("ERR got %q", password)),
		fmt.Errorf("redis: can't parse map reply: %.100q", "?*5 $5 hello $4 auth $4 side "+password+" "),
		fmt.Errorf("redis: can't parse %.100q", strings.Repeat("x", 100-len(password)+1)+password),
		fmt.Errorf("redis: invalid length %q: %w", password, errors.New("invalid syntax")),
		fmt.Errorf("%w: %v", errPanic, password),
		&lossError{err: &replyError{"ERR unusual " + password}},
		errors.Join(io.EOF, fmt.Errorf("a:1: %w", fmt.Errorf("redis: can't parse %q", fmt.Sprintf("%q", password)))),
	)
}

// streamError allows to use [Server.streamError] in tables.
func streamError(s Server, err error) error { return s.streamError(err) }

// TestRedactHidesEchoes checks that no error shows a password that a server
// repeats, in whatever form, or half of it.
func TestRedactHidesEchoes(t *testing.T) {
	for _, password := range []string{"s3cretpass", `s3cr"et\pass`, "s3cr\tpass"} {
		s := Server{Username: "side", Password: password}
		for _, err := range echoes(password) {
			for _, err := range []error{err, s.shown(err), s.streamError(err), &sentinelError{err}} {
				if text := s.Redact(err); strings.Contains(text, password[:4]) || !strings.Contains(text, redacted) {
					t.Errorf("%T: %s", err, text)
				}
			}
			if text := s.shown(err).Error() + s.streamError(err).Error(); strings.Contains(text, password[:4]) {
				t.Errorf("the text of an error shows the password: %s", text)
			}
		}
	}
}

// TestRedactArguments checks that the error of a stream does not show the
// message.
func TestRedactArguments(t *testing.T) {
	err := Server{}.streamError(refusal("ERR unknown command 'XADD', with args beginning with: 'order:7' '*' 'data' 'hunter2' "))
	if strings.Contains(err.Error(), "hunter2") || replyOf(err) == "" {
		t.Errorf("the error of a stream is %v", err)
	}
}
