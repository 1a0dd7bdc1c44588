package origin

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/syntax"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		comment, text string
		want          Origin
	}{
		{"plain", "https://app.example.com", Origin{"https", "app.example.com", ""}},
		{"in upper case", "HTTPS://App.Example.COM", Origin{"https", "app.example.com", ""}},
		{"a port", "http://dev.test:3000", Origin{"http", "dev.test", "3000"}},
		{"the default port of https", "https://a.example:443", Origin{"https", "a.example", ""}},
		{"the default port of http", "http://a.example:80", Origin{"http", "a.example", ""}},
		{"the default port of another scheme", "http://a.example:443", Origin{"http", "a.example", "443"}},
		{"IPv6", "http://[::1]:3000", Origin{"http", "::1", "3000"}},
		{"IPv6 without a port", "http://[::1]", Origin{"http", "::1", ""}},
		{"the scheme of an application", "capacitor://localhost", Origin{"capacitor", "localhost", ""}},
		{"a star is an ordinary character", "https://*.example.com", Origin{"https", "*.example.com", ""}},
	} {
		got, ok := Parse(tt.text)
		if !ok || got != tt.want {
			t.Errorf("%s: Parse(%q) = %+v, %v", tt.comment, tt.text, got, ok)
		}
		if again, ok := Parse(got.String()); !ok || again != got {
			t.Errorf("%s: %q is read as %+v, %v", tt.comment, got, again, ok)
		}
	}
}

func TestParseRejects(t *testing.T) {
	for comment, text := range map[string]string{
		"empty":                 "",
		"null":                  "null",
		"no scheme":             "app.example.com",
		"no host":               "https://",
		"a port alone":          "https://:443",
		"an empty port":         "https://a.example:",
		"a user":                "https://u@a.example",
		"a path":                "https://a.example/",
		"a query":               "https://a.example?x",
		"an empty query":        "https://a.example?",
		"a fragment":            "https://a.example#x",
		"two origins":           "https://a.example, https://b.example",
		"two without a comma":   "https://a.example https://b.example",
		"a line break":          "https://a.example\nx",
		"a backslash":           `https://a.example\b.example`,
		"not a URL of a server": "mailto:a.example",
	} {
		if got, ok := Parse(text); ok {
			t.Errorf("%s: Parse(%q) = %+v", comment, text, got)
		}
	}
}

func TestListNormalForm(t *testing.T) {
	for _, tt := range []struct{ comment, items, want string }{
		{"one", "HTTPS://App.Example.COM", "https://app.example.com"},
		{"default ports are left out", "https://a.example:443 http://b.example:80", "https://a.example http://b.example"},
		{"other ports are kept", "https://a.example:80 http://[::1]:3000", "https://a.example:80 http://[::1]:3000"},
		{"a wildcard", "https://*.Example.com", "https://*.example.com"},
		{"every page", "*", "*"},
		{"pages without an origin", "NULL File:// https://a.example", "null file:// https://a.example"},
		{"empty", "", ""},
	} {
		l, err := ParseList(strings.Fields(tt.items))
		if err != nil || strings.Join(l.Items(), " ") != tt.want {
			t.Errorf("%s: %q, %v", tt.comment, l.Items(), err)
			continue
		}
		again, err := ParseList(l.Items())
		if err != nil || !slices.Equal(again.Items(), l.Items()) {
			t.Errorf("%s: %q is read as %q, %v", tt.comment, l.Items(), again.Items(), err)
		}
		if l.Any() != (tt.items == "*") || l.Empty() != (tt.items == "") {
			t.Errorf("%s: Any() = %v, Empty() = %v", tt.comment, l.Any(), l.Empty())
		}
	}
}

func TestListRejects(t *testing.T) {
	for _, tt := range []struct{ comment, items, want string }{
		{"no scheme", "app.example.com", `"app.example.com" has no scheme; write https://app.example.com`},
		{"a slash instead of a scheme", "//app.example.com/x", `"//app.example.com/x" has no scheme; write https://app.example.com`},
		{"a path", "https://a.example.com/", `"https://a.example.com/" is more than an origin; write https://a.example.com`},
		{"a query", "https://a.example.com?x", `"https://a.example.com?x" is more than an origin; write https://a.example.com`},
		{"an empty fragment", "https://a.example.com#", `"https://a.example.com#" is more than an origin; write https://a.example.com`},
		{"the relay's own URL", "wss://a.example.com", `"wss://a.example.com" is the address of a WebSocket, not the origin of a page; write https://a.example.com`},
		{"the relay's own URL without TLS", "ws://a.example.com:8080", `"ws://a.example.com:8080" is the address of a WebSocket, not the origin of a page; write http://a.example.com:8080`},
		{"every page and one more", "* https://a.example.com", `has * together with other origins; write * alone to allow every page, or remove it`},
		{"a file", "file:///home/x.html", `"file:///home/x.html" is more than an origin; write file://`},
		{"every page and those without an origin", "null *", `has * together with other origins; write * alone to allow every page, or remove it`},
		{"no host", "https://", `"https://" is not an origin; ` + hintOrigin},
		{"an empty port", "https://a.example.com:", `"https://a.example.com:" is not an origin; ` + hintOrigin},
		{"port 0", "https://a.example.com:0", `"https://a.example.com:0" has a port that is not 1 to 65535; ` + hintOrigin},
		{"an IPv6 zone, which no browser sends", "https://[fe80::1%25eth0]", `"https://[fe80::1%25eth0]" is not an origin; ` + hintOrigin},
		{"characters that browsers encode", "https://bücher.example", `"https://bücher.example" has characters that are not ASCII; write the host as browsers send it, xn--...`},
		{"a user name, which is not repeated", "https://u:hunter2@a.example.com", `has an origin with a user name in it; ` + hintOrigin},
		{"a wildcard without TLS", "http://*.example.com", `"http://*.example.com" has a wildcard, which needs https and no port; ` + hintWildcard},
		{"a wildcard with a port", "https://*.example.com:8443", `"https://*.example.com:8443" has a wildcard, which needs https and no port; ` + hintWildcard},
		{"a wildcard in the middle", "https://a.*.example.com", `"https://a.*.example.com" has a wildcard that is not the first part of the host; ` + hintWildcard},
		{"two wildcards", "https://*.*.com", `"https://*.*.com" has a wildcard that is not the first part of the host; ` + hintWildcard},
		{"a wildcard inside a part", "https://*example.com", `"https://*example.com" has a wildcard that is not the first part of the host; ` + hintWildcard},
		{"a top-level domain", "https://*.com", `"https://*.com" allows a whole top-level domain; ` + hintWildcard},
	} {
		_, err := ParseList(strings.Fields(tt.items))
		if _, ok := errors.AsType[*syntax.Error](err); !ok || err.Error() != tt.want {
			t.Errorf("%s: %v\nwant: %s", tt.comment, err, tt.want)
		}
	}
}

func TestListContains(t *testing.T) {
	listed := []string{"https://good.com", "http://dev.test:3000", "https://*.wide.com"}
	for _, tt := range []struct {
		comment string
		items   []string
		text    string
		want    bool
	}{
		{"listed", listed, "https://good.com", true},
		{"listed, with the default port", listed, "https://good.com:443", true},
		{"listed with a port", listed, "http://dev.test:3000", true},
		{"another port", listed, "https://good.com:444", false},
		{"another scheme", listed, "http://good.com", false},
		{"a subdomain", listed, "https://evil.good.com", false},
		{"a name that ends like one that is listed", listed, "https://evil-good.com", false},
		{"below a wildcard", listed, "https://a.wide.com", true},
		{"far below a wildcard", listed, "https://a.b.wide.com", true},
		{"the parent of a wildcard", listed, "https://wide.com", false},
		{"a name that ends like a wildcard", listed, "https://evilwide.com", false},
		{"below a wildcard, another scheme", listed, "http://a.wide.com", false},
		{"below a wildcard, with a port", listed, "https://a.wide.com:8443", false},
		{"a name that only begins like one below a wildcard", listed, "https://a.wide.com.evil.com", false},
		{"every page", []string{"*"}, "https://evil.com", true},
		{"an empty list", nil, "https://good.com", false},
	} {
		l, err := ParseList(tt.items)
		if err != nil {
			t.Fatal(err)
		}
		o, ok := Parse(tt.text)
		if !ok || l.Contains(o) != tt.want {
			t.Errorf("%s: %v", tt.comment, l.Contains(o))
		}
	}
	if (List{}).Contains(Origin{"https", "good.com", ""}) {
		t.Error("the zero List allows an origin")
	}
}

// TestListAllows checks that pages without an origin are allowed only if they
// are listed.
func TestListAllows(t *testing.T) {
	for _, tt := range []struct {
		items, text string
		want        bool
	}{
		{"null", "null", true},
		{"null", "file://", false},
		{"null", "NULL", false}, // no browser sends it
		{"null", "https://good.com", false},
		{"null", "", false},
		{"file://", "file://", true},
		{"file://", "null", false},
		{"file://", "file:///home/x.html", false},
		{"https://good.com file://", "https://good.com", true},
		{"https://good.com", "null", false},
		{"https://good.com", "file://", false},
		{"capacitor://localhost app://x", "capacitor://localhost", true},
		{"capacitor://localhost app://x", "app://x", true},
		{"*", "null", true},
		{"*", "file://", true},
		{"", "null", false},
	} {
		l, err := ParseList(strings.Fields(tt.items))
		if err != nil || l.Allows(tt.text) != tt.want {
			t.Errorf("%q allows %q: %v, %v", tt.items, tt.text, !tt.want, err)
		}
	}
}
