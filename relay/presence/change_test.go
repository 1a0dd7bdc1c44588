package presence

import (
	"fmt"
	"strings"
	"testing"

	"sidecast/relay/access"
)

func TestParseChanges(t *testing.T) {
	for _, test := range []struct {
		why, payload, want string // want is empty if it is rejected
	}{
		{"an arrival", "chat\n7\t+\t1\t42\t{\"name\":\"Ann\"}", `chat [{7 + {42 {"name":"Ann"}} 1}]`},
		{"without info", "chat\n7\t-\t0\t42\t", `chat [{7 - {42 } 0}]`},
		{"two changes", "chat\n7\t+\t1\ta b\t\n8\t=\t1\ta b\t1", `chat [{7 + {a b } 1} {8 = {a b 1} 1}]`},
		{"no change", "chat", ""},
		{"an empty line", "chat\n", ""},
		{"an invalid channel", "\n7\t+\t1\t42\t", ""},
		{"an invalid user", "chat\n7\t+\t1\t\t", ""},
		{"too few fields", "chat\n7\t+\t1\t42", ""},
		{"another kind", "chat\n7\t*\t1\t42\t", ""},
		{"a version that is no number", "chat\nx\t+\t1\t42\t", ""},
		{"a negative count", "chat\n7\t+\t-1\t42\t", ""},
		{"info that is no JSON", "chat\n7\t+\t1\t42\t{", ""},
		{"info with a line break", "chat\n7\t+\t1\t42\t{\r}", ""},
		{"long info", "chat\n7\t+\t1\t42\t\"" + strings.Repeat("x", maxInfo) + `"`, ""},
	} {
		channel, changes, ok := parseChanges([]byte(test.payload))
		got := ""
		if ok {
			got = channel + " ["
			for i, c := range changes {
				got += strings.Repeat(" ", min(i, 1)) + fmt.Sprintf("{%d %c {%s %s} %d}", c.Version, c.Kind, c.User, c.Info, c.Count)
			}
			got += "]"
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.why, got, test.want)
		}
	}
}

func TestCompact(t *testing.T) {
	for info, want := range map[string]string{
		"{\n \"a\": \"b c\" }": `{"a":"b c"}`, "": "", "{": "", `"x"`: `"x"`, `"` + strings.Repeat("x", maxInfo) + `"`: "",
	} {
		if got := string(compact([]byte(info))); got != want {
			t.Errorf("compact(%q) = %q, want %q", info, got, want)
		}
	}
}

// Whatever another program publishes, nothing but names and JSON reaches
// clients.
func FuzzParseChanges(f *testing.F) {
	f.Add([]byte("chat\n7\t+\t1\t42\t{\"name\":\"Ann\"}\n8\t-\t0\t42\t"))
	f.Add([]byte("chat\n7\t+\t1\t42\t{\"a\":\"\\u0000\"}"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		channel, changes, ok := parseChanges(payload)
		if !ok {
			return
		}
		if !access.ValidChannel(channel) || len(changes) == 0 {
			t.Fatalf("%q: channel %q, %d changes", payload, channel, len(changes))
		}
		for _, c := range changes {
			if !access.ValidUser(c.User) || !validInfo(c.Info) || c.Count < 0 {
				t.Fatalf("%q: %+v", payload, c)
			}
		}
	})
}
