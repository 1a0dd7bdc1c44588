package source

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"sidecast/relay/stats"
)

// TestPhaseOfFailure checks that the explanation of an error says what the relay
// was doing.
func TestPhaseOfFailure(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Err: err} }
	read := func(err error) error { return &net.OpError{Op: "read", Err: err} }
	for _, tt := range []struct {
		err  error
		want string
	}{
		{dial(os.ErrDeadlineExceeded), "no answer in time"},
		{dial(syscall.ECONNREFUSED), "nothing listens at this address"},
		{dial(syscall.EHOSTUNREACH), "there is no route to this address"},
		{&tlsError{err: context.DeadlineExceeded}, "the TLS handshake was not answered"},
		{&tlsError{err: io.EOF}, "the TLS handshake failed"},
		{&tlsError{io.EOF, true}, "the server closed the connection after the TLS handshake"},
		{read(os.ErrDeadlineExceeded), "the server accepts the connection, but does not answer the login"},
		{read(syscall.ECONNRESET), "the connection was closed during the login"},
		{&lossError{cause: stats.CauseError, err: io.EOF}, "the connection was closed before the subscriptions were confirmed"},
		{&lossError{cause: stats.CauseError, err: errUnconfirmed}, "the subscriptions were not confirmed"},
	} {
		if problem, _ := explain(tt.err); problem != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, problem, tt.want)
		}
	}
}
