package auth

import (
	"strings"
	"testing"
	"time"

	"sidecast/relay/protocol"
)

// exp is a member that makes claims valid for long enough.
const exp = `"exp":99999999999`

// TestClaimNames checks that the names of claims are compared exactly, and that
// a token in which a name occurs twice is rejected.
func TestClaimNames(t *testing.T) {
	tokens := newTokens(t, SecretKeys(secret))
	const hs256 = `{"alg":"HS256"}`
	for _, tt := range []struct{ comment, claims, user string }{
		{"another case, after the claim", `{"sub":"42","Sub":"1","SUB":"1",` + exp + `}`, "42"},
		{"another case, before the claim", `{"Sub":"1","sub":"42",` + exp + `}`, "42"},
		{"a letter that folds to s", `{"sub":"42","ſub":"1",` + exp + `}`, "42"},
		{"an escaped name is the same name", `{"\u0073ub":"42",` + exp + `}`, "42"},
		{"only sub in another case", `{"Sub":"42",` + exp + `}`, ""},
		{"only a letter that folds to s", `{"ſub":"42",` + exp + `}`, ""},
		{"only exp in another case", `{"sub":"42","EXP":99999999999}`, ""},
		{"exp in another case does not extend the token", `{"sub":"42","exp":1,"Exp":99999999999}`, ""},
		{"sub twice", `{"sub":"42","sub":"42",` + exp + `}`, ""},
		{"sub twice, once escaped", `{"sub":"42","s\u0075b":"1",` + exp + `}`, ""},
		{"exp twice", `{"sub":"42","exp":1,` + exp + `}`, ""},
		{"an unknown claim twice", `{"sub":"42","x":1,"x":2,` + exp + `}`, ""},
		{"channels twice", `{"sub":"42","channels":["chat:1"],"channels":["*"],` + exp + `}`, ""},
	} {
		id, code := tokens.Verify(t.Context(), rawToken(t, hs256, tt.claims))
		if id.UserID() != tt.user || (code == protocol.CodeOK) != (tt.user != "") {
			t.Errorf("%s: %q, %v; want %q", tt.comment, id.UserID(), code, tt.user)
		}
	}
	for _, name := range []string{"CHANNELS", "Publish", "Subscribe", "ſubscribe"} {
		id, code := tokens.Verify(t.Context(), rawToken(t, hs256, `{"sub":"42",`+exp+`,"`+name+`":["*"]}`))
		if code != protocol.CodeOK || len(id.Subscribe)+len(id.Publish)+len(id.Join) > 0 {
			t.Errorf("%s grants something: %+v, %v", name, id, code)
		}
	}
	for _, header := range []string{`{"alg":"HS256","alg":"HS256"}`, `{"alg":"HS256","kid":"a","kid":"b"}`, `{"alg":"HS256","crit":null}`} {
		if _, code := tokens.Verify(t.Context(), rawToken(t, header, `{"sub":"42",`+exp+`}`)); code != protocol.CodeUnauthorized {
			t.Errorf("header %s: %v", header, code)
		}
	}
}

// TestAnswerNames checks the same for the answers of the application.
func TestAnswerNames(t *testing.T) {
	for body, want := range map[string]string{
		`{"user":"42","User":"1","USER":"1","uſer":"1"}`: "42",
		`{"User":"1","user":"42"}`:                       "42",
		`{"User":"42"}`:                                  "",
		`{"uſer":"42"}`:                                  "",
		`{"user":"42","user":"1"}`:                       "",
		`{"user":"42","x":1,"x":1}`:                      "",
	} {
		got, err := parseLogin(Grants{}, reply{status: 200, body: []byte(body)})
		if got.identity.UserID() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", body, got.identity.UserID(), err, want)
		}
	}
	got, err := parseLogin(Grants{}, reply{status: 200, body: []byte(`{"user":"42","Channels":["*"],"PUBLISH":["*"],"Expires_in":60}`)})
	if err != nil || len(got.identity.Subscribe)+len(got.identity.Publish) > 0 || time.Until(got.identity.Until) < 59*time.Minute {
		t.Errorf("names in another case have an effect: %+v, %v", got.identity, err)
	}
	if got, err := parseChannel(reply{status: 200, body: []byte(`{"expires_in":60,"expires_in":86400}`)}); err == nil {
		t.Errorf("expires_in twice: %+v", got)
	}
}

// TestKeyNames checks the same for sets of keys.
func TestKeyNames(t *testing.T) {
	valid := keySet(jwkRSA("one", rsaKey(t, 2048)))
	for comment, tt := range map[string]struct {
		body string
		want bool
	}{
		"valid":                       {valid, true},
		"keys in upper case":          {strings.Replace(valid, `"keys"`, `"KEYS"`, 1), false},
		"keys twice":                  {strings.Replace(valid, `"keys"`, `"keys":[],"keys"`, 1), false},
		"the id twice":                {strings.Replace(valid, `"kid"`, `"kid":"two","kid"`, 1), false},
		"use in another case":         {strings.Replace(valid, `"kid"`, `"Use":"enc","kid"`, 1), true},
		"the id in lower case counts": {strings.Replace(valid, `"kid"`, `"KID":"two","kid"`, 1), true},
	} {
		byID, _, err := parseKeys([]byte(tt.body))
		if (err == nil) != tt.want || tt.want && len(byID["one"]) != 1 {
			t.Errorf("%s: %v, %v", comment, byID, err)
		}
	}
}
