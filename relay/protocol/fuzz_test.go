package protocol

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// guard surrounds the decoded bytes, to detect reads and writes outside them.
// guard surrounds the decoded bytes, to detect reads and writes outside them.
var guard = bytes.Repeat([]byte("\xfe#GUARD#\xfe"), 4)

// decodeGuarded decodes data between two guards.
func decodeGuarded(t *testing.T, p Protocol, data []byte, text bool) (Command, CloseCode) {
	t.Helper()
	buffer := append(append(bytes.Clone(guard), data...), guard...)
	whole := bytes.Clone(buffer)
	cmd, code := p.Decode(buffer[len(guard):len(guard)+len(data)], text)
	if !bytes.Equal(buffer, whole) {
		t.Errorf("decoding %q changed it, or the bytes around it", data)
	}
	return cmd, code
}

// FuzzDecode checks that decoding never panics, and returns only bytes of the
// input.
func FuzzDecode(f *testing.F) {
	for _, c := range v1Commands {
		f.Add([]byte(c.data), true)
	}
	f.Add([]byte(`{"type":"ping","ref":1,"ref":{}}`), true)
	f.Add([]byte(`{"Type":"ping","REF":1}`), true)
	f.Add([]byte("{\"type\":\"publish\",\"channel\":\"\xff\",\"data\":\"\xff\"}"), true)
	f.Fuzz(func(t *testing.T, data []byte, text bool) {
		raw, code := decodeGuarded(t, Raw{}, data, text)
		if code != 0 || raw.Type != CommandPublish || !bytes.Equal(raw.Data, data) || raw.Fault != CodeOK {
			t.Errorf("raw: Decode(%q) = %+v, %d", data, raw, code)
		}
		cmd, code := decodeGuarded(t, V1{}, data, text)
		if code != 0 {
			if code.Plain() != CloseBadData || text && json.Valid(data) && bytes.TrimLeft(data, " \t\r\n")[0] == '{' {
				t.Errorf("v1: %q closes the connection with %d", data, code)
			}
			return
		}
		if !text || !json.Valid(data) {
			t.Errorf("v1: %q, text %v, is accepted as JSON", data, text)
		}
		checkCommand(t, data, cmd)
	})
}

func checkCommand(t *testing.T, data []byte, cmd Command) {
	t.Helper()
	if cmd.Ref != nil && (len(cmd.Ref) > maxRef || !json.Valid(cmd.Ref) || !bytes.Contains(data, cmd.Ref)) {
		t.Errorf("invalid ref %q from %q", cmd.Ref, data)
	}
	// A byte that is not UTF-8 becomes three bytes, so no command is longer
	// than that.
	allowed := 3 * len(data)
	for _, r := range cmd.Subscribe {
		allowed -= len(r.Channel) + len(r.After) + len(r.At) + len(r.Since)
		if r.Last < 0 || r.Last > MaxLast {
			t.Errorf("%q became %+v, which wants %d messages", data, cmd, r.Last)
		}
	}
	if allowed < 0 || len(cmd.Channel) > 3*len(data) || len(cmd.Data) > 3*len(data) {
		t.Errorf("%q became %+v, which is longer", data, cmd)
	}
	for _, part := range [][]byte{cmd.Data, []byte(cmd.Channel), cmd.Ref} {
		if bytes.Contains(part, guard[:10]) && !bytes.Contains(data, guard[:10]) {
			t.Errorf("%q became %+v, which contains the guard", data, cmd)
		}
	}
	switch complete := cmd.Fault == CodeOK; {
	case !complete && cmd.Fault != CodeBadRequest:
		t.Errorf("%q has the fault %s", data, cmd.Fault)
	case !complete:
	case cmd.Type == CommandSubscribe && len(cmd.Subscribe) == 0,
		cmd.Type == CommandPublish && (cmd.Channel == "" || cmd.Data == nil),
		cmd.Type == CommandUnsubscribe && cmd.Channel == "":
		t.Errorf("%q is incomplete, but accepted as %+v", data, cmd)
	}
}

// FuzzRef checks that every ref is repeated byte for byte in the answer, or
// else the command is rejected.
func FuzzRef(f *testing.F) {
	for _, ref := range []string{"1", "-0", "1e9", `"r"`, `""`, `"\u0041é\/"`, longestRef, "null", "true", "{}", "[1]", ` "x" `} {
		f.Add([]byte(ref))
	}
	f.Fuzz(func(t *testing.T, ref []byte) {
		data := append(append([]byte(`{"type":"ping","ref":`), ref...), '}')
		cmd, code := V1{}.Decode(data, true)
		value := bytes.Trim(ref, " \t\r\n")
		var probe any
		if err := json.Unmarshal(value, &probe); err != nil {
			return // ref may close the value, so that the frame can be anything: 1,"type":"publish"
		}
		if code != 0 {
			t.Fatalf("%q closes the connection with %d", data, code)
		}
		_, isText := probe.(string)
		_, isNumber := probe.(float64)
		switch {
		case probe == nil:
			if cmd.Ref != nil || cmd.Fault != CodeOK {
				t.Errorf("%q became %+v", data, cmd)
			}
			return
		case !isText && !isNumber, len(value) > maxRef:
			if cmd.Ref != nil || cmd.Fault != CodeBadRequest {
				t.Errorf("%q became %+v, want an error that does not repeat the ref", data, cmd)
			}
			return
		}
		if !bytes.Equal(cmd.Ref, value) || cmd.Fault != CodeOK {
			t.Fatalf("%q became %q, %s", data, cmd.Ref, cmd.Fault)
		}
		checkAnswer(t, cmd.Ref)
	})
}

// checkAnswer checks that each event that may have a ref contains it.
func checkAnswer(t *testing.T, ref []byte) {
	t.Helper()
	for _, kind := range []EventType{
		EventSubscribed, EventUnsubscribed, EventPong, EventOK, EventError,
	} {
		_, body, rest := cutFrame(t, V1{}.Event(Event{Type: kind, Channel: "a", Code: CodeForbidden, Ref: ref}))
		var answer struct{ Ref json.RawMessage }
		if err := json.Unmarshal(body, &answer); len(rest) > 0 || err != nil || !bytes.Equal(answer.Ref, ref) {
			t.Errorf("event %d with ref %q = %q (%v)", kind, ref, body, err)
		}
	}
}

// FuzzEvent checks that every event is one complete frame of valid JSON,
// whatever its fields contain.
func FuzzEvent(f *testing.F) {
	for _, e := range events() {
		f.Add(uint8(e.event.Type), e.event.Channel, e.event.Session, e.event.User, int64(e.event.Heartbeat), uint8(e.event.Code))
	}
	f.Add(uint8(EventWelcome), "\xff", "\x00\"", "a\xc3", int64(-1), uint8(3))
	f.Fuzz(func(t *testing.T, kind uint8, channel, session, user string, heartbeat int64, code uint8) {
		e := Event{
			Type: EventType(kind % (uint8(EventError) + 1)), Channel: channel, Session: session, User: user,
			Heartbeat: int(heartbeat), Code: Code(code % uint8(len(Codes()))),
			Reason: GapReason(code % uint8(len(GapReasons()))),
		}
		header, body, rest := cutFrame(t, V1{}.Event(e))
		var fields map[string]any
		if err := json.Unmarshal(body, &fields); err != nil || header[0] != 0x81 || len(rest) > 0 || !utf8.Valid(body) {
			t.Fatalf("%+v became % x %q and %d more bytes: %v", e, header, body, len(rest), err)
		}
		if got, there := fields["channel"]; there && got != toValidUTF8(channel) {
			t.Errorf("channel %q became %q", channel, got)
		}
		if e.Type == EventWelcome && (fields["session"] != toValidUTF8(session) || user != "" && fields["user"] != toValidUTF8(user)) {
			t.Errorf("%+v became %q", e, body)
		}
		if (Raw{}).Event(e) != nil {
			t.Errorf("raw has a frame for %+v", e)
		}
		checkSSEEvent(t, SSE{}, e)
		checkSSEEvent(t, SSEJSON{}, e)
	})
}
