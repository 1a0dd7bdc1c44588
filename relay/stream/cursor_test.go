package stream_test

import (
	"testing"

	"sidecast/relay/history"
	"sidecast/relay/stream"
)

// TestStreamCursor checks the wire form byte for byte: clients present old
// cursors to newer relays.
func TestStreamCursor(t *testing.T) {
	golden := map[string]stream.Cursor{
		"AgAAAAAAAA":       {},
		"AsrN3Zu4LDcSNFZ4": {ID: stream.ID{Ms: 1526919030474, Seq: 55}, Check: 0x12345678},
	}
	for text, cursor := range golden {
		if got, _ := cursor.AppendText(nil); string(got) != text {
			t.Errorf("AppendText of %+v = %s, want %s", cursor, got, text)
		}
		if got, ok := stream.ParseCursor(text); !ok || got != cursor {
			t.Errorf("ParseCursor(%q) = %+v, %v", text, got, ok)
		}
	}
	before := map[string]stream.Cursor{"A8rN3Zu4LDcSNFZ4": golden["AsrN3Zu4LDcSNFZ4"], "AwAAAAAAAA": {}}
	for text, cursor := range before {
		if got := cursor.TextBefore(); string(got) != text {
			t.Errorf("TextBefore of %+v = %s, want %s", cursor, got, text)
		}
		if got, ok := stream.ParseBefore(text); !ok || got != cursor {
			t.Errorf("ParseBefore(%q) = %+v, %v", text, got, ok)
		}
		if c, ok := stream.ParseCursor(text); ok {
			t.Errorf("ParseCursor(%q) = %+v, want an error", text, c)
		}
	}
	live, _ := history.Cursor{Node: 1, Index: 2}.AppendText(nil)
	for _, text := range []string{"", "A", "Ag", "AgAAAAAAA", "AgAAAAAAAAA", "AQAAAAAAAA", "AgAAAAAAAA==", "Ag AAAAAAA", string(live),
		"Av___________wEA____________AAAAAAAAAAAAAAAAAAAAAAAA"} {
		if c, ok := stream.ParseCursor(text); ok {
			t.Errorf("ParseCursor(%q) = %+v, want an error", text, c)
		}
		if c, ok := stream.ParseBefore(text); ok {
			t.Errorf("ParseBefore(%q) = %+v, want an error", text, c)
		}
	}
}

func FuzzStreamCursor(f *testing.F) {
	f.Add("AgAAAAAAAA", uint64(1526919030474), uint64(55), uint32(7))
	f.Fuzz(func(t *testing.T, input string, ms, seq uint64, check uint32) {
		if c, ok := stream.ParseCursor(input); ok {
			text, _ := c.AppendText(nil)
			if again, ok := stream.ParseCursor(string(text)); !ok || again != c {
				t.Errorf("ParseCursor(%q) = %+v, whose text is parsed as %+v", input, c, again)
			}
		}
		if c, ok := stream.ParseBefore(input); ok {
			if again, ok := stream.ParseBefore(string(c.TextBefore())); !ok || again != c {
				t.Errorf("ParseBefore(%q) = %+v, whose text is parsed as %+v", input, c, again)
			}
		}
		c := stream.Cursor{ID: stream.ID{Ms: ms, Seq: seq}, Check: check}
		text, _ := c.AppendText(nil)
		if got, ok := stream.ParseCursor(string(text)); !ok || got != c {
			t.Errorf("the text of %+v is parsed as %+v", c, got)
		}
	})
}
