package history

import (
	"strings"
	"testing"
)

// TestCursorGolden checks the wire form byte for byte: clients hold cursors
// while relays are replaced.
func TestCursorGolden(t *testing.T) {
	for _, test := range []struct {
		why, text string
		cursor    Cursor
	}{
		{"a marker", "AQECAwQRIjNEVWZ3iAAAAAAA", Cursor{0x01020304, MarkerID{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}, 0, 0}},
		{"the first message after a marker", "AQECAwQRIjNEVWZ3iAHerb7v", Cursor{0x01020304, MarkerID{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}, 1, 0xdeadbeef}},
		{"an index of two bytes", "AQAAAAAAAAAAAAAAAIABAAAAAQ", Cursor{0, MarkerID{}, 128, 1}},
		{"the largest cursor", "Af___________________________wH_____",
			Cursor{1<<32 - 1, MarkerID{255, 255, 255, 255, 255, 255, 255, 255}, 1<<64 - 1, 1<<32 - 1}},
	} {
		text, err := test.cursor.AppendText(nil)
		if err != nil || string(text) != test.text {
			t.Errorf("%s: %+v is %q, want %q", test.why, test.cursor, text, test.text)
		}
		if got, ok := ParseCursor(test.text); !ok || got != test.cursor {
			t.Errorf("%s: %q is %+v, %v", test.why, test.text, got, ok)
		}
	}
}

func TestParseCursorRejects(t *testing.T) {
	for why, text := range map[string]string{
		"nothing":                    "",
		"another version":            "AgECAwQRIjNEVWZ3iAAAAAAA",
		"truncated":                  "AQECAwQRIjNEVWZ3iAAAAA",
		"additional bytes":           "AQECAwQRIjNEVWZ3iAAAAAAAAA",
		"standard base64":            "Af///////////////////////////w8B/////w",
		"padding":                    "AQECAwQRIjNEVWZ3iAAAAAAA====",
		"unused bits that are set":   "AQAAAAAAAAAAAAAAAIABAAAAAR",
		"a line feed":                "AQECAwQRIjNEVWZ3\niAAAAAAA",
		"an index that does not end": "AQECAwQRIjNEVWZ3iP______________",
		"an index that is not in its shortest form": "AQECAwQRIjNEVWZ3iIAAAAAAAA",
		"a megabyte": strings.Repeat("A", 1<<20),
	} {
		if c, ok := ParseCursor(text); ok {
			t.Errorf("%s: ParseCursor = %+v, want an error", why, c)
		}
	}
}

// FuzzParseCursor checks that every accepted cursor is written as the same
// text.
func FuzzParseCursor(f *testing.F) {
	f.Add("AQECAwQRIjNEVWZ3iAHerb7v")
	f.Add("AQAAAAAAAAAAAAAAAIABAAAAAQ")
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := ParseCursor(text)
		if !ok {
			return
		}
		if again, _ := c.AppendText(nil); string(again) != text {
			t.Errorf("%q is %+v, which is %q", text, c, again)
		}
	})
}
