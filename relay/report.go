package relay

import (
	"strconv"

	"sidecast/relay/access"
	"sidecast/relay/blackbox"
	"sidecast/relay/protocol"
)

// A Reporter gets reports for the application. Its methods must not wait, and
// are called concurrently.
type Reporter interface {
	// Enabled reports whether the application wants reports of this kind.
	Enabled(kind protocol.ReportKind) bool
	Write(protocol.Report)
}

// report reports an event of the session's client.
func (s *Session) report(kind protocol.ReportKind, channel, code string) {
	to := s.hub.cfg.Reporter
	if to == nil || !to.Enabled(kind) {
		return
	}
	to.Write(protocol.Report{Kind: kind, User: s.principal.Identity.UserID(), Session: s.ID(), Channel: channel, Code: code})
}

// reportLeft reports that the session has ended.
func (s *Session) reportLeft() {
	code := strconv.Itoa(int(s.CloseCode().Number()))
	if _, evicted := s.outbox.Evicted(); evicted {
		s.report(protocol.ReportEvicted, "", code)
	}
	s.report(protocol.ReportDisconnected, "", code)
}

// reportRefused reports that the client may not use a channel, if the code says
// so.
func (s *Session) reportRefused(channel string, code protocol.Code) {
	if notAllowed(code) {
		s.report(protocol.ReportRefused, validOrNothing(channel), code.String())
	}
}

// ReportRejected reports that a client was closed with this code before it had a
// session, if it has to log in or may not connect.
func (h *Hub) ReportRejected(code protocol.CloseCode) {
	if code == 0 {
		return
	}
	h.cfg.BlackBox.Refused(blackbox.Refusal{Code: uint32(code), Reason: refusedConnection})
	if code.Plain() == protocol.CloseUnauthorized || code.Plain() == protocol.CloseForbidden {
		h.reportRejected(protocol.Report{Code: strconv.Itoa(int(code.Number()))})
	}
}

// reportNotAdmitted reports that a client gets no session because it may not
// have a channel, if the code says so.
func (h *Hub) reportNotAdmitted(c *Client, channel string, code protocol.Code) {
	h.recordNotAdmitted(c, channel, code)
	closed := protocol.CloseForbidden
	switch {
	case !notAllowed(code):
		return
	case code == protocol.CodeUnauthorized:
		closed = protocol.CloseUnauthorized
	}
	h.reportRejected(protocol.Report{
		User: c.Identity.UserID(), Channel: validOrNothing(channel), Code: strconv.Itoa(int(closed.Number())),
	})
}

func (h *Hub) reportRejected(r protocol.Report) {
	if to := h.cfg.Reporter; to != nil && to.Enabled(protocol.ReportRefused) {
		r.Kind = protocol.ReportRefused
		to.Write(r)
	}
}

// validOrNothing returns the name that a client sent, if a channel can have it.
func validOrNothing(channel string) string {
	if access.ValidChannel(channel) {
		return channel
	}
	return ""
}
