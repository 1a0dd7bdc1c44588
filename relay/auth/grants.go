package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"sidecast/relay/access"
)

// maxGrants bounds how many patterns, and how many channels, one identity has.
const maxGrants = 256

// userMark stands for the user's id in a grant.
const userMark = "{user}"

var (
	errUser   = errors.New("the user's id is missing, or is none: 1 to 128 bytes without control characters")
	errGrants = errors.New("there are too many grants")
)

// encodeUser writes a user's id as part of a channel's name: the user "42:private" must not become the channel
// user:42:private, which is another one's.
func encodeUser(id string) string { return userEncoding.Replace(id) }

var userEncoding = strings.NewReplacer("%", "%25", ":", "%3A")

// A Grants makes identities. UserChannels are names, with {user} for the user's id: each user's own channels.
type Grants struct{ UserChannels []string }

// saidGrants are what is open to a user, as it came.
type saidGrants struct {
	channels, publish, subscribe []string
}

// identity returns who somebody is, unless what was said of them is not right: a grant that cannot be read is not left
// out, since whoever wrote it meant something.
func (g Grants) identity(user string, said saidGrants, until time.Time) (*access.Identity, error) {
	if !access.ValidUser(user) {
		return nil, errUser
	}
	if len(said.channels)+len(said.publish)+len(said.subscribe) > maxGrants {
		return nil, errGrants
	}
	id := &access.Identity{User: user, Join: said.subscribe, Until: until}
	var err error
	if id.Subscribe, err = patternsFor(user, said.channels); err != nil {
		return nil, fmt.Errorf("reading channels: %w", err)
	}
	if id.Publish, err = patternsFor(user, said.publish); err != nil {
		return nil, fmt.Errorf("reading publish: %w", err)
	}
	for _, channel := range g.UserChannels {
		id.Own = append(id.Own, strings.ReplaceAll(channel, userMark, encodeUser(user)))
	}
	return id, nil
}

func patternsFor(user string, globs []string) (access.Patterns, error) {
	literal := access.EscapePattern(encodeUser(user))
	patterns := make(access.Patterns, len(globs))
	for i, glob := range globs {
		pattern, err := access.ParsePattern(strings.ReplaceAll(glob, userMark, literal))
		if err != nil {
			return nil, err
		}
		patterns[i] = pattern
	}
	return patterns, nil
}

// A userID is a JSON string, or a whole number as databases have them.
type userID string

// UnmarshalJSON implements [json.Unmarshaler].
func (u *userID) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(u))
	}
	if len(b) == 0 || len(b) > 20 || bytes.ContainsFunc(bytes.TrimPrefix(b, []byte("-")), func(r rune) bool { return r < '0' || r > '9' }) {
		return errUser
	}
	*u = userID(b)
	return nil
}
