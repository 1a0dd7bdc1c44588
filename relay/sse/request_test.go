package sse

import "testing"

func TestMisspelt(t *testing.T) {
	for name, want := range map[string]bool{
		"channel": false, "at": false, "last": false, // parameters
		"chanel": true, "channels": true, "Channel": true, "sinse": true, "tokn": true, "formt": true, "LAST": true,
		"channel[]": true, // as PHP writes lists
		" last":     true, // a blank after &
		"":          false, "_": false, "v": false, "lang": false, "fast": false, "cat": false, "utm_source": false,
		"sig": false, "user": false, "Sig": true, "sig[]": true, "publish": false, "echo": false, "gap": false,
	} {
		if got := misspelt(name); got != want {
			t.Errorf("misspelt(%q) = %v", name, got)
		}
	}
}
