package protocol

// A CloseCode is a WebSocket close code (RFC 6455 section 7.4) together with one
// of its fixed reasons, so that a client never sees an internal error, an address
// or a path. The low 16 bits are the code, and the others are the
// [CloseReason]. The constants have the code's usual reason;
// [CloseCode.Because] gives a code another one.
type CloseCode uint32

// The close codes. The relay sends no others.
const (
	CloseNormal       CloseCode = 1000 // the answer to a close frame of the client
	CloseGoingAway    CloseCode = 1001 // reserved: the relay sends CloseRestart instead
	CloseProtocol     CloseCode = 1002 // a violation of RFC 6455: framing, masking, opcodes
	CloseBadData      CloseCode = 1007 // text that is not UTF-8, or invalid JSON
	ClosePolicy       CloseCode = 1008 // a violation of a rule or of a rate limit
	CloseTooBig       CloseCode = 1009 // a message larger than MAX_INBOUND_BYTES
	CloseRestart      CloseCode = 1012 // the relay restarts: reconnect
	CloseTryLater     CloseCode = 1013 // the relay is overloaded, or Redis is unavailable: reconnect later
	CloseUnauthorized CloseCode = 4401 // the client must log in again: also if it wants public channels and sent an invalid token
	CloseForbidden    CloseCode = 4403 // the client must not reconnect
	CloseSlow         CloseCode = 4408 // the client reads too slowly: reconnect
	CloseKicked       CloseCode = 4409 // the application ended the login: the client must not reconnect
	CloseGap          CloseCode = 4410 // raw with gap=close: messages may be missing
	CloseUnknownApp   CloseCode = 4001 // Pusher: the URL has another key than the relay's
	CloseVersion      CloseCode = 4007 // Pusher: a version of the protocol that the relay does not support
)

var closeCodes = [...]struct {
	code   CloseCode
	reason string // the usual one
}{
	{CloseNormal, ""},
	{CloseGoingAway, "the relay shuts down: reconnect"},
	{CloseProtocol, "not a WebSocket frame (RFC 6455)"},
	{CloseBadData, "a text frame must be UTF-8"},
	{ClosePolicy, "not allowed: change the request"},
	{CloseTooBig, "the message is larger than SIDECAST_MAX_INBOUND_BYTES allows"},
	{CloseRestart, "the relay restarts: reconnect after a random delay"},
	{CloseTryLater, "not available now: try again later"},
	{CloseUnauthorized, "no valid login: log in again"},
	{CloseForbidden, "not allowed: do not reconnect"},
	{CloseSlow, "the client reads too slowly: reconnect"},
	{CloseKicked, "disconnected by the application: do not reconnect"},
	{CloseGap, "messages may be missing: load the state again, then reconnect"},
	{CloseUnknownApp, "unknown key: use the one in SIDECAST_PUSHER_KEY"},
	{CloseVersion, "unsupported version of the Pusher protocol: use 5, 6 or 7"},
}

// The slots of [CloseCode.Slot] after those of the codes that the relay sends.
const (
	slotAbnormal = len(closeCodes)     // the connection broke without a close frame from either side
	slotOther    = len(closeCodes) + 1 // any code that the relay does not send
	// NumCloseSlots is the number of slots.
	NumCloseSlots = len(closeCodes) + 2
)

// CloseAbnormal stands for a connection that broke without a close frame. It is
// never sent.
const CloseAbnormal CloseCode = 1006

// Because returns the code with another reason.
func (c CloseCode) Because(why CloseReason) CloseCode {
	return c.Plain() | CloseCode(why)<<reasonShift
}

// Plain returns the code with its usual reason. Compare plain codes if the
// reason does not matter.
func (c CloseCode) Plain() CloseCode { return c & (1<<reasonShift - 1) }

// Number returns the code as it is sent.
func (c CloseCode) Number() uint16 { return uint16(c) }

const reasonShift = 16

// Reason returns the reason as it is sent, or "" if the relay does not send the
// code.
func (c CloseCode) Reason() string {
	i := c.Slot()
	if i >= len(closeCodes) {
		return ""
	}
	if why := CloseReason(c >> reasonShift); why != ReasonUsual {
		return why.String()
	}
	return closeCodes[i].reason
}

// Slot returns the index of the code in [sidecast/relay/stats.Stats.Closed].
func (c CloseCode) Slot() int {
	for i := range closeCodes {
		if closeCodes[i].code == c.Plain() {
			return i
		}
	}
	if c == CloseAbnormal {
		return slotAbnormal
	}
	return slotOther
}

// CloseSlots returns the codes by [CloseCode.Slot]. They are the values of the
// metrics label `code`. The last one is 0 and stands for every code that the
// relay does not send.
func CloseSlots() [NumCloseSlots]CloseCode {
	var slots [NumCloseSlots]CloseCode
	for i := range closeCodes {
		slots[i] = closeCodes[i].code
	}
	slots[slotAbnormal] = CloseAbnormal
	return slots
}

var pingFrame = NewFrame(OpPing, 0)

// closeFrames holds the close frames with the usual reasons, so that thousands of
// clients share one when the relay restarts.
var closeFrames = func() map[CloseCode][]byte {
	frames := make(map[CloseCode][]byte)
	for _, code := range CloseSlots() {
		if code != 0 && code != CloseAbnormal {
			frames[code] = CloseFrame(code)
		}
	}
	return frames
}()

func closeFrame(code CloseCode) []byte {
	if frame, ok := closeFrames[code]; ok {
		return frame
	}
	return CloseFrame(code)
}
