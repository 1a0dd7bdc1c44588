package access

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"sidecast/relay/protocol"
)

// documented are the credentials in the examples of
// https://pusher.com/docs/channels/library_auth_reference/.
var documented = NewApp("3", "278d425bdf160c739803", "7ad3773142a6692b25b8")

// The relay makes the signatures of Pusher's documentation. Its signature of
// the presence channel belongs to another name than the one that it shows.
func TestDocumentedSignatures(t *testing.T) {
	const key = "278d425bdf160c739803:"
	for _, tt := range []struct{ name, got, want string }{
		{"a private channel", documented.SignChannel("1234.1234", "private-foobar", ""),
			key + "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"},
		{"a user", documented.SignUser("1234.1234", `{"id":"12345"}`),
			key + "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"},
		{"a presence channel, as shown", documented.SignChannel("1234.1234", "presence-foobar", `{"user_id":10,"user_info":{"name":"Mr. Channels"}}`),
			key + "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"},
		{"a presence channel, as signed", documented.SignChannel("1234.1234", "presence-foobar", `{"user_id":10,"user_info":{"name":"Mr. Pusher"}}`),
			key + "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c"},
		{"a request", documented.Sign("POST\n/apps/3/events\nauth_key=278d425bdf160c739803&auth_timestamp=1353088179" +
			"&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f"),
			"da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, tt.got, tt.want)
		}
	}
}

// A signature for one session, channel, member or user is not valid for another
// one.
func TestSignaturesDiffer(t *testing.T) {
	seen := map[string]string{}
	for name, signature := range map[string]string{
		"a channel":           documented.SignChannel("1.1", "private-a", ""),
		"another session":     documented.SignChannel("1.2", "private-a", ""),
		"another channel":     documented.SignChannel("1.1", "private-b", ""),
		"a member":            documented.SignChannel("1.1", "private-a", `{"user_id":"1"}`),
		"another member":      documented.SignChannel("1.1", "private-a", `{"user_id":"2"}`),
		"a user":              documented.SignUser("1.1", "private-a"),
		"another application": NewApp("3", documented.Key, "another secret").SignChannel("1.1", "private-a", ""),
	} {
		if other, exists := seen[signature]; exists {
			t.Errorf("%s has the signature of %s", name, other)
		}
		seen[signature] = name
	}
}

func TestVerify(t *testing.T) {
	signed := documented.SignChannel("1.1", "private-a", "")
	for _, tt := range []struct {
		name, presented string
		want            bool
	}{
		{"the same", signed, true},
		{"none", "", false},
		{"the key alone", documented.Key + ":", false},
		{"without the key", signed[len(documented.Key)+1:], false},
		{"another key", "x" + signed[1:], false},
		{"the beginning", signed[:len(signed)-1], false},
		{"one more character", signed + "0", false},
		{"upper case", strings.ToUpper(signed), false},
		{"white space", signed + "\n", false},
	} {
		if got := documented.Verify(tt.presented, signed); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestSocketIDs(t *testing.T) {
	app, other := NewApp("1", "key", testSecret), NewApp("1", "key", testSecret+"!")
	seen := map[SocketNumber]bool{}
	for i := range 1000 {
		random := make([]byte, 8)
		switch i {
		case 0: // the lowest number is 1
		case 1: // the highest
			random = bytes.Repeat([]byte{255}, 16)
		default:
			_, _ = rand.Read(random)
		}
		n := NewSocketNumber(random)
		id := app.SocketID(n)
		if got, ok := app.ParseSocketID(id); got != n || !ok {
			t.Fatalf("%s of %d is %d, %v", id, n, got, ok)
		}
		if _, ok := other.ParseSocketID(id); ok {
			t.Errorf("%s: an application with another secret accepts it", id)
		}
		// Pusher's libraries accept digits, a dot, digits. Scripts hold both
		// parts in a number.
		first, second, _ := strings.Cut(id, ".")
		for _, part := range []string{first, second} {
			if value, err := strconv.ParseUint(part, 10, 64); err != nil || value >= 1<<socketBits || strconv.FormatUint(value, 10) != part {
				t.Errorf("%s: the part %s", id, part)
			}
		}
		if seen[n] || n == 0 {
			t.Errorf("%d is not unique, or 0", n)
		}
		seen[n] = true
	}
	if !seen[1] || !seen[1<<socketBits-1] {
		t.Error("the lowest or the highest number is missing")
	}
	if got, want := NewApp("2", "other", testSecret).SocketID(7), app.SocketID(7); got != want {
		t.Errorf("with the same secret, a socket id is %s, want %s", got, want)
	}
}

// Only exactly the id that a relay issues is accepted: two forms of one id could
// make the application's signature of one valid for the other.
func TestTamperedSocketIDs(t *testing.T) {
	app := NewApp("1", "key", testSecret)
	first, second, _ := strings.Cut(app.SocketID(123456), ".")
	code, _ := strconv.ParseUint(second, 10, 64)
	for name, id := range map[string]string{
		"empty":                         "",
		"a dot":                         ".",
		"without a code":                first,
		"an empty code":                 first + ".",
		"an empty number":               "." + second,
		"the code of 0":                 fmt.Sprint("0.", app.socketCode("0")),
		"the code of an empty number":   fmt.Sprint(".", app.socketCode("")),
		"another number":                "123457." + second,
		"a code that is one more":       fmt.Sprint(first, ".", code+1),
		"the code of another number":    fmt.Sprint(first, ".", app.socketCode("123457")),
		"the parts swapped":             second + "." + first,
		"the same part twice":           first + "." + first,
		"a leading zero":                "0" + first + "." + second,
		"a leading zero, with its code": fmt.Sprint("0123456.", app.socketCode("0123456")),
		"a leading zero in the code":    first + ".0" + second,
		"a sign":                        "+" + first + "." + second,
		"a sign, with its code":         fmt.Sprint("+123456.", app.socketCode("+123456")),
		"a negative number":             fmt.Sprint("-1.", app.socketCode("-1")),
		"a sign in the code":            first + ".+" + second,
		"54 bits, with their code":      fmt.Sprint(uint64(1)<<socketBits, ".", app.socketCode(fmt.Sprint(uint64(1)<<socketBits))),
		"64 bits, with their code":      fmt.Sprint(uint64(math.MaxUint64), ".", app.socketCode(fmt.Sprint(uint64(math.MaxUint64)))),
		"more than 64 bits":             strings.Repeat("9", 40) + "." + second,
		"a code of more than 64 bits":   first + "." + strings.Repeat("9", 40),
		"hexadecimal, with its code":    fmt.Sprint("0x1e240.", app.socketCode("0x1e240")),
		"an exponent, with its code":    fmt.Sprint("1e5.", app.socketCode("1e5")),
		"an underscore, with its code":  fmt.Sprint("123_456.", app.socketCode("123_456")),
		"white space before":            " " + first + "." + second,
		"white space after":             first + "." + second + "\n",
		"a third part":                  first + "." + second + ".1",
		"letters":                       "a.b",
		"other digits":                  "\u0661." + second,
		"the id in Pusher's examples":   "1234.1234",
	} {
		if n, ok := app.ParseSocketID(id); ok {
			t.Errorf("%s: %q is accepted as %d", name, id, n)
		}
	}
}

func FuzzParseSocketID(f *testing.F) {
	app := NewApp("1", "key", testSecret)
	for _, seed := range []string{"", ".", "1.1", "00.0", app.SocketID(1), app.SocketID(1<<socketBits - 1), "0" + app.SocketID(1)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if n, ok := app.ParseSocketID(id); ok && app.SocketID(n) != id {
			t.Errorf("%q is accepted, but the id of %d is %q", id, n, app.SocketID(n))
		}
	})
}

func TestKindOf(t *testing.T) {
	private := ChannelKind{Private: true}
	presence := ChannelKind{Private: true, Presence: true}
	for name, want := range map[string]ChannelKind{
		"":                          {},
		"chat":                      {},
		"cache-chat":                {Cache: true},
		"private-chat":              private,
		"private-":                  private,
		"private":                   {}, // no prefix
		"Private-chat":              {}, // prefixes are lower case
		" private-chat":             {}, // not at the beginning
		"chat-private-":             {},
		"private-cache-chat":        {Private: true, Cache: true},
		"private-encrypted-chat":    {Private: true, Encrypted: true},
		"private-encrypted":         private, // no dash after it
		"private-encrypted-cache-x": {Private: true, Encrypted: true, Cache: true},
		"private-cache-encrypted-x": {Private: true, Cache: true}, // in this order, it is a part of the name
		"private-presence-x":        private,
		"presence-chat":             presence,
		"presence-cache-chat":       {Private: true, Presence: true, Cache: true},
		"presence-encrypted-x":      presence, // only private channels are encrypted
		"cache-private-x":           {Cache: true},
		"encrypted-x":               {},
		"#server-to-user-42":        {User: true},
		"#server-to-user-":          {User: true},
		"#server-to-user":           {},
		"server-to-user-42":         {},
		"##server-to-user-42":       {},
		"private-#server-to-user-4": private,
	} {
		if got := KindOf(name); got != want {
			t.Errorf("%q: %+v, want %+v", name, got, want)
		}
		if got := KindOf([]byte(name)); got != want {
			t.Errorf("%q as bytes: %+v, want %+v", name, got, want)
		}
		if got := KindOf(name).Guarded(); got != (want.Private || want.User) {
			t.Errorf("%q is guarded: %v", name, got)
		}
	}
}

// Channels with the prefixes of the Pusher protocol are never open to everyone,
// whatever the patterns are. What an application grants to a client is.
func TestGuarded(t *testing.T) {
	all := Patterns{MustPattern("*")}
	rules := &Rules{Names: NewNames("", ""), Channels: all, Public: all, Publish: all, App: documented}
	named := &Rules{ // patterns that name the channels open them no more than * does
		Names: NewNames("", ""), Channels: all, App: documented,
		Public: Patterns{MustPattern("private-*"), MustPattern("presence-a")}, Publish: Patterns{MustPattern("#server-to-user-*")},
	}
	without := &Rules{Names: NewNames("", ""), Channels: all, Public: all, Publish: all}
	stranger, granted := &Identity{User: "1"}, &Identity{User: "42", Subscribe: all, Publish: all}
	for channel, guarded := range map[string]bool{
		"chat": false, "cache-chat": false, "privately": false,
		"private-a": true, "private-cache-a": true, "private-encrypted-a": true, "presence-a": true, "presence-cache-a": true,
		"#server-to-user-42": true,
		// With the prefix that Laravel adds unless it is changed.
		"laravel_database_private-a": true, "my-shop-database-presence-a": true, "laravel-database-chat": false, "x_database_y_private-a": false,
	} {
		open := protocol.CodeOK
		if guarded {
			open = protocol.CodeForbidden
		}
		for name, tt := range map[string]struct {
			got, want protocol.Code
		}{
			"anonymous subscribes":          {rules.Subscribe(nil, channel), open},
			"anonymous publishes":           {rules.PublishTo(nil, channel), open},
			"a user subscribes":             {rules.Subscribe(stranger, channel), open},
			"a user publishes":              {rules.PublishTo(stranger, channel), open},
			"a grant to subscribe":          {rules.Subscribe(granted, channel), protocol.CodeOK},
			"a grant to publish":            {rules.PublishTo(granted, channel), protocol.CodeOK},
			"without the Pusher protocol":   {without.Subscribe(nil, channel), protocol.CodeOK},
			"publishing without it":         {without.PublishTo(nil, channel), protocol.CodeOK},
			"a pattern that names it":       {named.Subscribe(nil, channel), protocol.CodeForbidden},
			"such a pattern for publishing": {named.PublishTo(nil, channel), protocol.CodeForbidden},
		} {
			if tt.got != tt.want {
				t.Errorf("%s: %s: %v, want %v", channel, name, tt.got, tt.want)
			}
		}
		if rules.Guarded(channel) != guarded || without.Guarded(channel) {
			t.Errorf("%s: guarded is %v, without the protocol %v", channel, rules.Guarded(channel), without.Guarded(channel))
		}
	}
}
