// Package readers runs tests of connections with event loops, and once more with
// a goroutine for each connection.
package readers

import (
	"flag"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"sidecast/relay/relaytest/inmemory"
	"sidecast/relay/transport"
)

// variable, set to goroutine, makes tests run without event loops.
const variable = "SIDECAST_TEST_READER"

// Goroutines reports whether the tests run without event loops.
func Goroutines() bool { return os.Getenv(variable) == "goroutine" }

// Start returns the reader for a test with TCP connections, which its caller
// closes. It is nil if each connection has a goroutine.
func Start(t testing.TB) *transport.Reader {
	t.Helper()
	if Goroutines() {
		return nil
	}
	reader, err := transport.StartReader()
	if err != nil {
		t.Fatal(err)
	}
	return reader
}

// InMemory returns the reader for a test with connections in memory, which its
// caller closes, and a function that returns both ends of a connection. The
// address is that of the client. At the end of the test it checks that no
// descriptor is open, and that none was used that was not.
func InMemory(t testing.TB) (reader *transport.Reader, pipe func(address net.Addr) (client, relay net.Conn)) {
	t.Helper()
	if Goroutines() {
		return nil, func(address net.Addr) (client, relay net.Conn) {
			client, relay = net.Pipe()
			return client, named{relay, address}
		}
	}
	k := new(inmemory.Kernel)
	reader, err := transport.NewReader(k, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n, misuse := k.Open(); n != 0 || misuse != nil {
			t.Errorf("%d descriptors are open at the end; used although they were not open: %q", n, misuse)
		}
	})
	return reader, func(address net.Addr) (client, relay net.Conn) { return k.Pipe(address) }
}

// A named is a connection whose client has an address.
type named struct {
	net.Conn
	address net.Addr
}

// RemoteAddr implements [net.Conn].
func (n named) RemoteAddr() net.Addr { return n.address }

// RunWithGoroutines runs all tests of the package once more, in a process in
// which each connection has a goroutine. If only some tests are selected, it
// runs those.
func RunWithGoroutines(t *testing.T) {
	if Goroutines() {
		return // this is that process
	}
	arguments := []string{"-test.count=1"}
	for _, name := range []string{"test.run", "test.skip", "test.short", "test.parallel", "test.cpu"} {
		if f := flag.Lookup(name); f.Value.String() != "" {
			arguments = append(arguments, "-"+name+"="+f.Value.String())
		}
	}
	if deadline, ok := t.Deadline(); ok { // it prints its goroutines before this process has to end
		arguments = append(arguments, "-test.timeout="+time.Until(deadline.Add(-5*time.Second)).String())
	}
	command := exec.Command(os.Args[0], arguments...)
	command.Env = append(os.Environ(), variable+"=goroutine")
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("with a goroutine for each connection: %v\n%s", err, output)
	}
}
