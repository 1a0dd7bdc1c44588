package relay

import (
	"cmp"
	"sync"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// refusal returns how to close the session of a protocol that has no frame for
// the error of a command.
func (s *Session) refusal(cmd protocol.Command, code protocol.Code) protocol.CloseCode {
	switch code {
	case protocol.CodeUnavailable:
		if cmd.Type == protocol.CommandPublish {
			return protocol.CloseTryLater.Because(protocol.ReasonRedis)
		}
		return protocol.CloseTryLater
	case protocol.CodeTooLarge:
		return protocol.CloseTooBig.Because(protocol.ReasonPublishTooLarge)
	case protocol.CodeRateLimited:
		return protocol.ClosePolicy.Because(protocol.ReasonRate)
	}
	return protocol.ClosePolicy.Because(s.whyNotPublished(cmd, code))
}

// whyNotPublished returns why a raw client may not publish a message.
func (s *Session) whyNotPublished(cmd protocol.Command, code protocol.Code) protocol.CloseReason {
	switch {
	case protocol.IsCommand(cmd.Data):
		return protocol.ReasonCommand
	case cmd.Channel == "" && len(s.subs) > 1:
		return protocol.ReasonPublishSeveral
	case cmd.Channel == "":
		return protocol.ReasonPublishNone
	case code == protocol.CodeBadChannel:
		return cmp.Or(access.Mistake(cmd.Channel), protocol.ReasonPublishName)
	}
	return cmp.Or(access.Mistake(cmd.Channel), protocol.ReasonPublish)
}

// A refusalLog logs which channels clients may not use, because close reasons
// and errors do not say which setting to change. Ten entries may follow each
// other; then there is one in a second, so that clients cannot fill the disk.
type refusalLog struct {
	mu    sync.Mutex
	limit limiter
}

// refusalLogRate is how many entries there are per second, and at once.
var refusalLogRate = newCommandRate(1, 10)

func (l *refusalLog) due(now int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit.take(refusalLogRate, now) == limitAllow
}

// logNotReceived logs that a client may not receive a channel.
func (h *Hub) logNotReceived(channel string, code protocol.Code, why protocol.CloseReason) {
	h.logNotAllowed("a client may not receive this channel", "SIDECAST_PUBLIC_CHANNELS", channel, code, why)
}

// logNotPublished logs that a client may not publish to a channel.
func (h *Hub) logNotPublished(channel string, code protocol.Code) {
	h.logNotAllowed("a client may not publish to this channel", "SIDECAST_PUBLISH_CHANNELS", channel, code, access.Mistake(channel))
}

// logNotAllowed logs a refusal, with the setting that would allow the channel if
// that is the only way: otherwise a grant can be missing.
func (h *Hub) logNotAllowed(message, setting, channel string, code protocol.Code, why protocol.CloseReason) {
	if !notAllowed(code) || channel == "" || !h.refusals.due(h.now()) {
		return
	}
	attrs := []any{"channel", cutName(channel), "code", code.String()}
	switch relayed := h.cfg.Access.Relayed(channel); {
	case relayed == protocol.CodeForbidden:
		attrs = append(attrs, "setting", "SIDECAST_CHANNELS")
	case relayed == protocol.CodeOK && !h.cfg.Access.Login && h.cfg.Access.Secrets == nil && !h.cfg.Access.Guarded(channel):
		attrs = append(attrs, "setting", setting)
	}
	if why != protocol.ReasonUsual {
		attrs = append(attrs, "hint", why.String())
	}
	h.cfg.Logger.Info(message, attrs...)
}

// logMistake logs that a client joined a channel that it probably did not mean:
// the client gets no error, and no messages.
func (h *Hub) logMistake(s *Session, channel string) {
	if why := access.Mistake(channel); why != protocol.ReasonUsual && h.refusals.due(h.now()) {
		h.cfg.Logger.Warn("a client joined a channel whose name looks like a mistake",
			"channel", channel, "hint", why.String(), "session", s)
	}
}

// notAllowed reports whether an error means that the client may not use a
// channel, now or ever.
func notAllowed(code protocol.Code) bool {
	return code == protocol.CodeForbidden || code == protocol.CodeUnauthorized || code == protocol.CodeBadChannel
}

// nameProblem returns a text about the name of a channel that a client may not
// use, in place of the usual one of the error, or "".
func nameProblem(channel string, code protocol.Code) string {
	if !notAllowed(code) {
		return ""
	}
	return access.Mistake(channel).String()
}

// cutName returns the beginning of a text that a client sent instead of a name.
func cutName(name string) string { return name[:min(len(name), access.MaxChannelName)] }
