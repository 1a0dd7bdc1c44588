package auth

import (
	"encoding/json"
	"strings"
	"testing"

	"sidecast/relay/protocol"
)

// TestLossyText checks that two users whose ids differ in bytes that JSON
// cannot express do not become one, and that such texts are rejected in every
// member.
func TestLossyText(t *testing.T) {
	tokens := newTokens(t, SecretKeys(secret))
	for text, valid := range map[string]bool{
		`Ren\u00e9`:          true,
		"Ren\u00e9":          true,
		`\ud83d\ude00`:       true,
		`\uD83D\uDE00`:       true,
		`\\ud83d`:            true, // a backslash and letters
		`\\\\ud83d`:          true,
		"\ufffd":             true, // a user may have this name
		`\ufffd`:             true,
		"Ren\xe9":            false,
		"Ren\xe8":            false,
		"\xed\xa0\x80":       false, // half of a pair, in UTF-8
		"\xc0\xaf":           false, // not the shortest form
		`\ud83d`:             false,
		`\ude00`:             false,
		`\ud83dx`:            false,
		`\ud83d\n`:           false,
		`\ud83d\u0041`:       false,
		`\ud83d\ud83d\ude00`: false,
		`\ude00\ud83d`:       false,
		`\\\ud83d`:           false, // a backslash and half of a pair
	} {
		for _, claims := range []string{`{"sub":"` + text + `",` + exp + `}`, `{"sub":"42","name":["` + text + `"],` + exp + `}`} {
			if _, code := tokens.Verify(t.Context(), rawToken(t, `{"alg":"HS256"}`, claims)); (code == protocol.CodeOK) != valid {
				t.Errorf("token %q: %v", claims, code)
			}
		}
		for _, body := range []string{`{"user":"` + text + `"}`, `{"user":"42","name":{"x":"` + text + `"}}`, `{"user":"42","` + text + `":1}`} {
			if _, err := parseLogin(Grants{}, reply{status: 200, body: []byte(body)}); (err == nil) != valid {
				t.Errorf("answer %q: %v", body, err)
			}
		}
	}
}

// TestIncompleteEscapes checks texts that end within an escape sequence.
func TestIncompleteEscapes(t *testing.T) {
	for _, text := range []string{`{"user":"\`, `{"user":"\u`, `{"user":"\ud83d`, `{"user":"\ud83d\`, `{"user":"\ud83d\ude0`, `\`, `\u`, ``} {
		if o, err := parseObject([]byte(text)); err == nil {
			t.Errorf("%q is parsed as %v", text, o.members)
		}
	}
}

// FuzzLossyText compares checkUnicode with the decoder: a text is rejected if,
// and only if, the decoder would replace something by U+FFFD.
func FuzzLossyText(f *testing.F) {
	for _, seed := range []string{`a`, `\ud83d\ude00`, `\ud83d`, `\\ud83d`, "\xe9", `\ud83d\ud83d\ude00`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var decoded string
		if json.Unmarshal([]byte(`"`+text+`"`), &decoded) != nil || strings.Contains(strings.ToLower(text), `\ufffd`) {
			return
		}
		replaced := strings.Count(decoded, "\ufffd") > strings.Count(text, "\ufffd")
		if err := checkUnicode([]byte(`"` + text + `"`)); (err != nil) != replaced {
			t.Errorf("%q is decoded as %q: %v", text, decoded, err)
		}
	})
}
