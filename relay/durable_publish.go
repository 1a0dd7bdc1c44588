package relay

import (
	"context"

	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// toStream adds what a client publishes to a stream, and reports whether Redis said that it did.
func (s *Session) appendToStream(cmd protocol.Command) bool {
	h := s.hub
	if h.readers == nil {
		return false
	}
	defer s.block()()
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	i := s.subscription(cmd.Channel)
	if !cmd.NoEcho || i < 0 {
		_, err := h.readers.Store().Append(ctx, cmd.Channel, cmd.Data)
		return err == nil
	}

	// Only when the entry is there has it the id by which it is known. Whoever reads it meanwhile waits for that.
	sub := s.subs[i]
	h.suppressEcho(sub)
	done := sub.reader.AddOwn()
	defer done()
	id, err := h.readers.Store().Append(ctx, cmd.Channel, cmd.Data)
	if err != nil {
		return false
	}
	e := s.echoes.Load()
	if e == nil {
		e = new(echoes)
		s.echoes.Store(e)
	}
	own := stream.NewEntry(id, []string{stream.PayloadField, string(cmd.Data)}, 0)
	e.add(cmd.Channel, own.Hash(), h.now())
	return true
}

// added reports whether the session added this entry and does not want it back.
func (s *Session) isOwnEntry(channel string, entry stream.Cursor) bool {
	e := s.echoes.Load()
	return e != nil && e.match(channel, entry.Hash(), s.hub.now())
}
