package access

import (
	"strings"

	"sidecast/relay/protocol"
)

// Mistake returns what the author of a channel name probably got wrong, or
// [protocol.ReasonUsual]. Such a name can be valid, and even be intended.
func Mistake(channel string) protocol.CloseReason {
	switch {
	case strings.TrimSpace(channel) != channel:
		return protocol.ReasonBlank
	case strings.Contains(channel, ","):
		return protocol.ReasonComma
	case strings.Contains(channel, "*"):
		return protocol.ReasonPattern
	}
	return protocol.ReasonUsual
}
