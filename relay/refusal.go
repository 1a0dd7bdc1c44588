package relay

import (
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
		return protocol.ReasonPublishName
	}
	return protocol.ReasonPublish
}

// A refusalLog logs which channels clients may not use, because close reasons
// and errors do not say which setting to change. Ten entries may follow each
// other; then there is one in a second, so that clients cannot fill the disk.
type refusalLog struct {
	mu    sync.Mutex
	limit limiter
}

func (l *refusalLog) due(now int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit.take(now) == limitAllow
}

// logNotReceived logs that a client may not receive a channel.
func (h *Hub) logNotReceived(channel string, code protocol.Code) {
	h.logNotAllowed("a client may not receive this channel", "SIDECAST_PUBLIC_CHANNELS", channel, code)
}

// logNotPublished logs that a client may not publish to a channel.
func (h *Hub) logNotPublished(channel string, code protocol.Code) {
	h.logNotAllowed("a client may not publish to this channel", "SIDECAST_PUBLISH_CHANNELS", channel, code)
}

// logNotAllowed logs a refusal, with the setting that would allow the channel if
// that is the only way: otherwise a grant can be missing.
func (h *Hub) logNotAllowed(message, setting, channel string, code protocol.Code) {
	switch code {
	case protocol.CodeForbidden, protocol.CodeUnauthorized, protocol.CodeBadChannel:
	default:
		return
	}
	if channel == "" || !h.refusals.due(h.now()) {
		return
	}
	attrs := []any{"channel", cutName(channel), "code", code.String()}
	switch relayed := h.cfg.Access.Relayed(channel); {
	case relayed == protocol.CodeForbidden:
		attrs = append(attrs, "setting", "SIDECAST_CHANNELS")
	case relayed == protocol.CodeOK && !h.cfg.Access.Login:
		attrs = append(attrs, "setting", setting)
	}
	h.cfg.Logger.Info(message, attrs...)
}

// cutName returns the beginning of a text that a client sent instead of a name.
func cutName(name string) string { return name[:min(len(name), access.MaxChannelName)] }
