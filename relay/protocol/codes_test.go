package protocol

import (
	"slices"
	"testing"
)

// TestCodes checks that the codes are exactly the documented ones, and that
// each has a message.
func TestCodes(t *testing.T) {
	want := []string{
		"ok", "bad_request", "unknown_type", "bad_channel", "unauthorized", "forbidden", "too_many_channels", "rate_limited",
		"too_large", "unavailable", "not_subscribed",
	}
	codes := Codes()
	if got := texts(codes[:]); !slices.Equal(got, want) {
		t.Errorf("codes %q, want %q", got, want)
	}
	for _, code := range codes {
		if (code.Message() == "") != (code == CodeOK) {
			t.Errorf("the message of %s is %q", code, code.Message())
		}
	}
}

// TestGapReasons checks that every reason is one that clients know.
func TestGapReasons(t *testing.T) {
	known := []string{"redis", "history", "too_large", "trimmed", "reset", "replica"}
	reasons := GapReasons()
	for _, reason := range texts(reasons[:]) {
		if !slices.Contains(known, reason) {
			t.Errorf("the reason %q is not one of %q", reason, known)
		}
	}
}

// TestCloseCodes checks that every close code may be sent, and has a valid
// reason, a close frame and a slot.
func TestCloseCodes(t *testing.T) {
	slots := CloseSlots()
	for i, code := range slots[:slotAbnormal] {
		standard := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014
		if !standard && (code < 3000 || code > 4999) {
			t.Errorf("%d must not be sent (RFC 6455 section 7.4)", code)
		}
		reason := code.Reason()
		if (reason == "") != (code == CloseNormal) {
			t.Errorf("%d has the reason %q", code, reason)
		}
		checkReason(t, reason)
		if code.Slot() != i {
			t.Errorf("Slot of %d = %d, want %d", code, code.Slot(), i)
		}
		if frame := CloseFrame(code); len(frame) != 4+len(reason) || len(frame) != cap(frame) || frame[0] != 0x88 ||
			int(frame[1]) != 2+len(reason) || CloseCode(frame[2])<<8|CloseCode(frame[3]) != code || string(frame[4:]) != reason {
			t.Errorf("the close frame for %d is % x", code, frame)
		}
	}
}

// TestCloseReasons checks that a code keeps its number, its slot and its rank in
// comparisons of plain codes, whatever its reason is, and that each reason is
// sent.
func TestCloseReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, why := range CloseReasons() {
		code := CloseForbidden.Because(ReasonComma).Because(why)
		if code.Number() != 4403 || code.Plain() != CloseForbidden || code.Slot() != CloseForbidden.Slot() {
			t.Errorf("with the reason %q the code is %d in slot %d", why, code.Number(), code.Slot())
		}
		want := why.String()
		if why == ReasonUsual {
			want = CloseForbidden.Reason()
		}
		if seen[want] || want == "" {
			t.Errorf("the reason %d has no text of its own: %q", why, want)
		}
		seen[want] = true
		checkReason(t, want)
		if frame := (Raw{}).Close(code); string(frame[4:]) != want || int(frame[1]) != 2+len(want) || frame[2] != 4403>>8 {
			t.Errorf("the close frame for %q is %q", want, frame)
		}
	}
	if CloseAbnormal.Because(ReasonComma).Slot() == slotAbnormal || CloseCode(4999).Because(ReasonComma).Reason() != "" ||
		CloseForbidden.Because(numReasons).Reason() != "" {
		t.Error("codes that are not sent have a reason")
	}
}

// checkReason checks that a reason fits into a close frame (RFC 6455 section
// 5.5.1) and is plain text.
func checkReason(t *testing.T, reason string) {
	t.Helper()
	if len(reason) > 123 {
		t.Errorf("the reason %q has %d bytes, want at most 123", reason, len(reason))
	}
	for _, c := range reason {
		if c < ' ' || c > '~' {
			t.Errorf("the reason %q contains %q", reason, c)
		}
	}
}

// TestCloseSlots checks the slot for broken connections and the one for all
// codes that the relay does not send.
func TestCloseSlots(t *testing.T) {
	slots := CloseSlots()
	if slots[slotAbnormal] != CloseAbnormal || CloseAbnormal.Slot() != slotAbnormal || CloseAbnormal.Reason() != "" {
		t.Error("CloseAbnormal has a wrong slot or a reason")
	}
	for _, code := range []CloseCode{0, 1, 999, 1003, 1005, 1011, 1015, 3000, 4000, 4400, 4999, 65535} {
		if code.Slot() != slotOther || code.Reason() != "" {
			t.Errorf("Slot of %d = %d, Reason = %q, want slotOther and no reason", code, code.Slot(), code.Reason())
		}
	}
}

func texts[T interface{ String() string }](all []T) (list []string) {
	for _, v := range all {
		list = append(list, v.String())
	}
	return list
}
