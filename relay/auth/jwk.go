package auth

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/publickey"
)

// parseKey parses a public key (JWK, RFC 7517) and returns it with its id. It
// returns false if the key is not supported, or if its issuer has not published
// it to verify tokens.
func parseKey(raw json.RawMessage) (kid string, key jwt.VerificationKey, ok bool) {
	o, err := parseObject(raw)
	if err != nil {
		return "", nil, false
	}
	if key = keyMaterial(o); key == nil {
		return "", nil, false
	}
	algorithm, err := publickey.AlgorithmOf(key)
	if err != nil || !o.verifies(algorithm) {
		return "", nil, false
	}
	kid = o.string("kid")
	return kid, key, o.err == nil
}

// verifies reports whether a key may verify tokens with an algorithm. A key is
// for one algorithm only, even if its kind could be used for several, such as
// RS256 and PS256.
func (o *object) verifies(algorithm string) bool {
	use, alg, operations := o.string("use"), o.string("alg"), o.strings("key_ops")
	switch {
	case o.err != nil:
		return false
	case use != "" && use != "sig", o.has("key_ops") && !slices.Contains(operations, "verify"):
		return false
	}
	return alg == "" || alg == algorithm || alg == "Ed25519" && algorithm == "EdDSA" // RFC 9864 renames it
}

// keyMaterial returns the public key in a JWK, or nil if it is not supported.
// The library gets only the members that it needs, because it compares names in
// any case.
func keyMaterial(o *object) jwt.VerificationKey {
	members := make(map[string]json.RawMessage)
	for _, name := range []string{"kty", "crv", "n", "e", "x", "y"} {
		if value, ok := o.members[name]; ok {
			members[name] = value
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		return nil
	}
	parsed, err := keyfunc.NewJWKJSON(text)
	if err != nil {
		return nil
	}
	set, err := parsed.VerificationKeySet(context.Background())
	if err != nil || len(set.Keys) != 1 {
		return nil
	}
	return set.Keys[0]
}
