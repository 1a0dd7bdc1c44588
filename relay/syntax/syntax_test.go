package syntax

import (
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	for _, tt := range []struct{ comment, text, want string }{
		{"empty", "", `""`},
		{"short", "chat", `"chat"`},
		{"the longest that is not cut", strings.Repeat("x", 60), `"` + strings.Repeat("x", 60) + `"`},
		{"long", strings.Repeat("x", 61), `"` + strings.Repeat("x", 60) + `..."`},
		{"cut between two characters", strings.Repeat("x", 59) + "éé", `"` + strings.Repeat("x", 59) + `..."`},
		{"no character begins in the first 60 bytes", strings.Repeat("\x80", 61), `"..."`},
	} {
		if got := Quote(tt.text); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.comment, got, tt.want)
		}
	}
}

func TestAlphanumeric(t *testing.T) {
	for _, tt := range []struct {
		comment, text, marks string
		want                 bool
	}{
		{"empty", "", "", true},
		{"letters and digits", "azAZ09", "", true},
		{"a mark that is listed", "a-b", "-", true},
		{"a mark that is not listed", "a-b", "_", false},
		{"a letter beyond ASCII", "é", "", false},
		{"invalid UTF-8", "\xff", "", false},
	} {
		if got := Alphanumeric(tt.text, tt.marks); got != tt.want {
			t.Errorf("%s: %v", tt.comment, got)
		}
	}
}

func TestValidPort(t *testing.T) {
	for text, want := range map[string]bool{
		"1": true, "6379": true, "65535": true, "0": false, "65536": false, "": false, "-1": false, "http": false, "0x50": false,
	} {
		if got := ValidPort(text); got != want {
			t.Errorf("ValidPort(%q) = %v", text, got)
		}
	}
}

func TestHasBOM(t *testing.T) {
	for text, want := range map[string]bool{
		"\ufeffx": true, "\xff\xfex\x00": true, "\xfe\xff\x00x": true, "x\ufeff": false, "": false, "\xef\xbb": false,
	} {
		if got := HasBOM(text); got != want {
			t.Errorf("HasBOM(%q) = %v", text, got)
		}
	}
}
