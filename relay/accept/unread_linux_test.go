package accept

import (
	"io"
	"net"
	"testing"
	"time"
)

// A new connection whose request has arrived is not closed in favor of another
// one: the server has not read it yet.
func TestConnectionWithRequestIsNotIdle(t *testing.T) {
	table := NewTable(Config{Slots: NewSlots(2)})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	listener := table.Listener(inner)
	connect := func(sent string) (client, accepted net.Conn) {
		client, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		_, _ = io.WriteString(client, sent)
		if accepted, err = listener.Accept(); err != nil {
			t.Fatal(err)
		}
		for sent != "" && !unread(accepted) {
			time.Sleep(time.Millisecond)
		}
		return client, accepted
	}
	_, honest := connect("GET / HTTP/1.1\r\n\r\n")
	_, silent := connect("")
	for _, c := range table.conns {
		c.since = c.since.Add(-patience)
	}
	_, third := connect("")
	if table.find(honest) == nil || table.find(silent) != nil || table.find(third) == nil {
		t.Error("the table does not close the silent connection, although the other one has sent a request")
	}
	for _, c := range []net.Conn{honest, third} {
		_ = c.Close()
	}
}
