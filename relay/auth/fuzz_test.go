package auth

import (
	"net/netip"
	"testing"

	"sidecast/relay/access"
)

// FuzzLoginAnswer: whatever the application answers, who is let in has a valid id, an end, and nothing with an error.
func FuzzLoginAnswer(f *testing.F) {
	for _, seed := range []string{`{"user":"42","channels":["chat:*"],"expires_in":60}`, `{"user":42}`, `{"user":null}`, ``, `[]`, `{"user":"\u0000"}`, `{"user":1e9}`} {
		f.Add(200, []byte(seed))
		f.Add(401, []byte(seed))
	}
	a := &Application{grants: Grants{UserChannels: []string{"user:{user}"}}}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		said, err := a.readLogin(status, body)
		if (said.verdict == granted) != (said.id != nil) || err != nil && said.verdict != unavailable {
			t.Errorf("%d %q: %+v, %v", status, body, said, err)
		}
		if said.id != nil && (status < 200 || status > 299 || !access.ValidUser(said.id.User) || said.id.Until.IsZero()) {
			t.Errorf("%d %q lets in %+v", status, body, said.id)
		}
	})
}

// FuzzChannelAnswer: nothing but an empty answer or an object opens a channel.
func FuzzChannelAnswer(f *testing.F) {
	for _, seed := range []string{``, `{}`, `[]`, `{"expires_in":60}`, `{"expires_in":"x"}`, `<form>`, `null`, `true`} {
		f.Add(200, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		said, err := readChannel(status, body)
		if said.verdict == granted && (err != nil || status < 200 || status > 299) {
			t.Errorf("%d %q opens", status, body)
		}
	})
}

// FuzzKeys: no set of keys panics, and every key that is taken serves an algorithm.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"},null,1]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, all, err := parseKeys(body)
		if (err == nil) != (len(all) > 0) {
			t.Errorf("%q: %d keys, %v", body, len(all), err)
		}
		for _, key := range all {
			if _, err := algorithmOf(key); err != nil {
				t.Errorf("%q: %v", body, err)
			}
		}
	})
}

// FuzzForwarded: no header panics, and none makes an untrusted peer somebody else.
func FuzzForwarded(f *testing.F) {
	f.Add("203.0.113.9:1", "1.2.3.4, 10.0.0.1")
	f.Add("10.0.0.1:1", "garbage, [::1]:4, ::ffff:1.2.3.4")
	trusting := NewProxies(prefixes("10.0.0.0/8"))
	f.Fuzz(func(t *testing.T, peerText, header string) {
		r := from(peerText)
		r.Header["X-Forwarded-For"] = []string{header}
		client := trusting.Client(r)
		trusting.Limited(r)
		if port, err := netip.ParseAddrPort(peerText); err == nil {
			if address := port.Addr().Unmap().WithZone(""); !trusting.trusts(address) && client != address {
				t.Errorf("%q with %q is %v", peerText, header, client)
			}
		}
	})
}
