package auth

import (
	"fmt"
	"strings"
	"time"

	"sidecast/relay/access"
)

// maxGrants bounds the patterns and channel names of one identity, all its
// lists together.
const maxGrants = 256

// userPlaceholder stands for the user's id in grants.
const userPlaceholder = "{user}"

var (
	errUser   = &problem{text: "the user's id is missing or invalid", do: "it must have 1 to 128 bytes and no control characters"}
	errGrants = &problem{text: fmt.Sprintf("too many patterns and channels: at most %d are allowed, all lists together", maxGrants)}
)

// Grants creates identities. UserChannels are the names of each user's own
// channels, in which {user} stands for the user's id.
type Grants struct{ UserChannels []string }

// grantLists are the unchecked lists of a token or of the application's answer.
type grantLists struct {
	channels, publish []string // patterns, which may contain {user}
	subscribe         []string // channel names
}

// identity returns the identity of a user. It returns an error if any grant is
// invalid. It does not ignore that grant, because its author meant to grant
// something.
func (g Grants) identity(user string, lists grantLists, until time.Time) (*access.Identity, error) {
	if !access.ValidUser(user) {
		return nil, errUser
	}
	if len(lists.channels)+len(lists.publish)+len(lists.subscribe) > maxGrants {
		return nil, errGrants
	}
	id := &access.Identity{User: user, Join: lists.subscribe, Until: until}
	var err error
	if id.Subscribe, err = parsePatterns(user, lists.channels); err != nil {
		return nil, &problem{text: "channels: " + err.Error()}
	}
	if id.Publish, err = parsePatterns(user, lists.publish); err != nil {
		return nil, &problem{text: "publish: " + err.Error()}
	}
	for _, channel := range g.UserChannels {
		id.Own = append(id.Own, strings.ReplaceAll(channel, userPlaceholder, encodeUser(user)))
	}
	return id, nil
}

// parsePatterns replaces {user} in the patterns by the user's id, which then
// matches only itself.
func parsePatterns(user string, sources []string) (access.Patterns, error) {
	literal := encodeUser(user)
	patterns := make(access.Patterns, len(sources))
	for i, source := range sources {
		pattern, err := access.ExpandPattern(source, userPlaceholder, literal)
		if err != nil {
			return nil, err
		}
		patterns[i] = pattern
	}
	return patterns, nil
}

// encodeUser returns a user's id in the form in which it is part of a channel's
// name. Without the encoding, the user "42:private" would have the channel
// user:42:private, which belongs to user 42.
func encodeUser(id string) string { return userEncoding.Replace(id) }

var userEncoding = strings.NewReplacer("%", "%25", ":", "%3A")
