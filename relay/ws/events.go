package ws

import (
	"errors"
	"os"

	"github.com/lxzan/gws"
)

// events handles the events that gws reports to the relay. Only the reading
// goroutine of a connection calls its methods.
type events struct{ gws.BuiltinEventHandler }

func (events) OnMessage(socket *gws.Conn, message *gws.Message) {
	c := socket.NetConn().(*conn)
	c.session.Handle(message.Bytes(), message.Opcode == gws.OpcodeText)
	_ = message.Close()
}

// OnPing returns the payload, as RFC 6455 section 5.5.3 requires.
func (events) OnPing(socket *gws.Conn, payload []byte) { _ = socket.WritePong(payload) }

func (events) OnPong(*gws.Conn, []byte) {}

func (events) OnClose(socket *gws.Conn, err error) {
	c := socket.NetConn().(*conn)
	if closed, ok := err.(*gws.CloseError); ok {
		c.peerCode = closed.Code
	}
	c.expired = errors.Is(err, os.ErrDeadlineExceeded)
}

// noStorage replaces the map that gws creates for each connection. The relay
// does not need it: all state of a connection is in its [conn].
type noStorage struct{}

func (noStorage) Len() int                     { return 0 }
func (noStorage) Load(string) (any, bool)      { return nil, false }
func (noStorage) Delete(string)                {}
func (noStorage) Store(string, any)            {}
func (noStorage) Range(func(string, any) bool) {}
