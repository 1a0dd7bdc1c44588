package access

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
)

var update = flag.Bool("update", false, "write the golden files")

// A vector is a signature that PHP has made.
type vector struct {
	Secret  string `json:"secret"`
	Exp     int64  `json:"exp"`
	User    string `json:"user"`
	Channel string `json:"channel"`
	Sig     string `json:"sig,omitempty"`
}

const testSecret = "a secret of thirty-two bytes, or more"

// vectors are signed by PHP.
var vectors = []vector{
	{testSecret, 1790000000, "", "order:7", ""},                                           // every client
	{testSecret, 1790000000, "42", "order:7", ""},                                         // one user
	{testSecret, 1790000001, "42", "order:7", ""},                                         // a second later
	{testSecret, 1, "42", "order:7", ""},                                                  // long ago
	{testSecret, 99999999999, "42", "order:7", ""},                                        // in the year 5138
	{testSecret, 1790000000, "order:7", "42", ""},                                         // user and channel swapped
	{testSecret, 1790000000, "a:b%c", "a b", ""},                                          // characters that URLs escape
	{testSecret, 1790000000, "zoë@例え", "räume:日本 👋🏽", ""},                                 // not ASCII
	{testSecret, 1790000000, `"\'`, `quotes "'\ and <tags> & more`, ""},                   // characters of PHP and JSON
	{testSecret, 1790000000, "", "chat:*", ""},                                            // not a pattern, but a name with a star
	{testSecret, 1790000000, strings.Repeat("u", 128), strings.Repeat("c", 200), ""},      // the longest names
	{"s4kbC1b3nF7rjIY0lW0zVJxmDPTxBV0JzQmJ8mJ9cVA=", 1790000000, "42", "order:7", ""},     // from openssl rand -base64 32
	{strings.Repeat("a secret that is longer than a block ", 3), 1790000000, "", "a", ""}, // HMAC hashes it first
	{"ein Geheimnis mit Umlauten: äöüß und mehr", 1790000000, "", "a", ""},                // not ASCII
	{" a secret with white space at its ends  ", 1790000000, "", "a", ""},                 // which counts
}

// The relay accepts the signatures of PHP, and makes the same ones. Without PHP,
// the test uses those that PHP has made before.
func TestSignaturesOfPHP(t *testing.T) {
	golden := filepath.Join("testdata", "signatures.golden")
	signed, err := os.ReadFile(golden)
	if _, missing := exec.LookPath("php"); missing == nil || os.Getenv("CI") == "true" {
		made := signWithPHP(t)
		if *update {
			if err := os.WriteFile(golden, made, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if !bytes.Equal(made, signed) {
			t.Errorf("PHP signs\n%s\nand the file is (%v)\n%s\n(to accept it, run go test -update)", made, err, signed)
		}
		signed = made
	}
	var got []vector
	for line := range bytes.Lines(signed) {
		var v vector
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		secrets := NewChannelSecrets(v.Secret)
		if until, ok := secrets.Verify(v.Channel, Signature{v.Sig, v.User}); !ok || until.Unix() != v.Exp {
			t.Errorf("%+v: %v, %v", v, ok, until)
		}
		if sig := secrets.Sign(v.Channel, v.User, time.Unix(v.Exp, 0)); sig != v.Sig {
			t.Errorf("%+v: the relay signs %s", v, sig)
		}
		v.Sig = ""
		got = append(got, v)
	}
	if !reflect.DeepEqual(got, vectors) {
		t.Errorf("the file has other vectors: %+v", got)
	}
}

// signWithPHP returns a line of JSON for each vector.
func signWithPHP(t *testing.T) []byte {
	t.Helper()
	redistest.Require(t, "php", "php-cli")
	list, err := json.Marshal(vectors)
	if err != nil {
		t.Fatal(err)
	}
	php := exec.Command("php", filepath.Join("testdata", "sign.php"))
	php.Stdin = bytes.NewReader(list)
	out, err := php.Output()
	if err != nil {
		t.Fatalf("php: %v\n%s", err, out)
	}
	return out
}

// While a secret is replaced, both are accepted.
func TestSecretRotation(t *testing.T) {
	const current, previous, other = "the current secret of 32 bytes..", "the previous secret of 32 bytes.", "a secret that is not in use....."
	until := time.Unix(1790000000, 0)
	secrets := NewChannelSecrets(current, previous)
	for secret, want := range map[string]bool{current: true, previous: true, other: false} {
		sig := NewChannelSecrets(secret).Sign("order:7", "42", until)
		if got, ok := secrets.Verify("order:7", Signature{sig, "42"}); ok != want || want && !got.Equal(until) {
			t.Errorf("signed with %s: %v, %v", secret, ok, got)
		}
	}
	if sig := secrets.Sign("order:7", "42", until); sig != NewChannelSecrets(current).Sign("order:7", "42", until) {
		t.Error("the previous secret signs")
	}
}

// The texts that are signed for two names are never equal, because no name
// contains a line break.
func TestSignedTextIsUnambiguous(t *testing.T) {
	secrets := NewChannelSecrets(testSecret)
	until := time.Unix(1790000000, 0)
	for _, v := range []struct{ signedUser, signedChannel, user, channel string }{
		{"42", "chat\norder:7", "42\nchat", "order:7"}, // a line break in the user
		{"", "42\norder:7", "42", "order:7"},           // in the channel
		{"\n42", "order:7", "", "42\norder:7"},
		{"42\n", "order:7", "42", "\norder:7"},
	} {
		sig := secrets.Sign(v.signedChannel, v.signedUser, until)
		for _, presented := range []struct{ user, channel string }{{v.user, v.channel}, {v.signedUser, v.signedChannel}} {
			if _, ok := secrets.Verify(presented.channel, Signature{sig, presented.user}); ok {
				t.Errorf("signed for %q and %q, accepted for %q and %q", v.signedUser, v.signedChannel, presented.user, presented.channel)
			}
		}
	}
}

func TestSignaturesInURL(t *testing.T) {
	type signatures = map[string]Signature
	for _, tt := range []struct {
		name                  string
		channels, sigs, users []string
		want                  signatures
		ok                    bool
	}{
		{"none", []string{"a"}, nil, nil, nil, true},
		{"one", []string{"a"}, []string{"s"}, nil, signatures{"a": {"s", ""}}, true},
		{"one with a user", []string{"a"}, []string{"s"}, []string{"u"}, signatures{"a": {"s", "u"}}, true},
		{"the second only", []string{"a", "b"}, []string{"", "s"}, []string{"", "u"}, signatures{"b": {"s", "u"}}, true},
		{"the first only", []string{"a", "b"}, []string{"s"}, []string{"u"}, signatures{"a": {"s", "u"}}, true},
		{"a user without a signature", []string{"a"}, nil, []string{"u"}, nil, true},
		{"a channel twice: the first signature counts", []string{"a", "a", "a"}, []string{"", "s", "x"}, nil, signatures{"a": {"s", ""}}, true},
		{"more signatures than channels", []string{"a"}, []string{"s", "s"}, nil, nil, false},
		{"more users than channels", []string{"a"}, nil, []string{"u", "u"}, nil, false},
		{"no channel", nil, []string{"s"}, nil, nil, false},
	} {
		got, ok := SignaturesInURL(tt.channels, tt.sigs, tt.users)
		if ok != tt.ok || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, %v; want %v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

// FuzzVerify: no signature is accepted but the one that the secret makes, and
// none makes Verify panic.
func FuzzVerify(f *testing.F) {
	secrets := NewChannelSecrets(testSecret)
	until := time.Unix(1790000000, 0)
	f.Add(secrets.Sign("order:7", "42", until), "42", "order:7")
	f.Add("1790000000.", "", "a")
	f.Add(".", "", "a")
	f.Add("-1.00", "", "a")
	f.Fuzz(func(t *testing.T, sig, user, channel string) {
		got, ok := secrets.Verify(channel, Signature{sig, user})
		if ok && (secrets.Sign(channel, user, got) != sig || !ValidChannel(channel)) {
			t.Errorf("accepted %q for %q and %q", sig, user, channel)
		}
	})
}
