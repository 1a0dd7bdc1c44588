package pusher

import (
	"context"
	"strings"

	"sidecast/relay/access"
)

// info are the attributes of channels that a request asks for.
type info struct{ users, subscriptions bool }

func (i info) any() bool { return i.users || i.subscriptions }

// parseInfo parses a list such as user_count,subscription_count.
func parseInfo(list string) (i info, refused *refusal) {
	if list == "" {
		return i, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		switch strings.TrimSpace(name) {
		case "user_count":
			i.users = true
		case "subscription_count":
			i.subscriptions = true
		default:
			return i, invalid("info can contain user_count and subscription_count, separated by commas, and nothing else")
		}
	}
	return i, nil
}

// attributes describe a channel. Those are nil that the request did not ask for.
type attributes struct {
	Occupied      *bool `json:"occupied,omitempty"`
	Users         *int  `json:"user_count,omitempty"`
	Subscriptions *int  `json:"subscription_count,omitempty"`
}

var (
	errUserCount = invalid("only presence channels have a user_count: ask for channels whose names begin with presence-")
	errUsers     = invalid("only presence channels have users: ask for a channel whose name begins with presence-")
)

// unread is the text of an answer if Redis has not answered a question.
const unread = "this is not known now: Redis does not answer, or too many channels have subscriptions; the relay's log says why"

// attributes returns the attributes of a channel that a request asks for. Only
// presence channels have users.
func (a *api) attributes(ctx context.Context, channel string, asked info) (found attributes, refused *refusal) {
	if asked.users && access.KindOf(channel).Presence {
		users, refused := a.members(ctx, channel)
		if refused != nil {
			return found, refused
		}
		found.Users = new(len(users))
	}
	if asked.subscriptions {
		n, refused := a.subscriptions(ctx, channel)
		if refused != nil {
			return found, refused
		}
		found.Subscriptions = &n
	}
	return found, nil
}

func (a *api) members(ctx context.Context, channel string) ([]string, *refusal) {
	if a.Members == nil {
		return nil, unsupported("the users of channels: see SIDECAST_PRESENCE_CHANNELS")
	}
	users, err := a.Members(ctx, channel)
	if err != nil {
		return nil, unavailable(err, unread)
	}
	return users, nil
}

func (a *api) subscriptions(ctx context.Context, channel string) (int, *refusal) {
	if a.Counts == nil {
		return 0, unsupported("how many subscriptions channels have")
	}
	n, err := a.Counts.Subscriptions(ctx, channel)
	if err != nil {
		return 0, unavailable(err, unread)
	}
	return n, nil
}

// channels answers with the channels that have subscriptions.
func (a *api) channels(ctx context.Context, r request) (any, *refusal) {
	prefix := r.query["filter_by_prefix"]
	asked, refused := parseInfo(r.query["info"])
	switch {
	case refused != nil:
		return nil, refused
	case asked.users && !strings.HasPrefix(prefix, "presence-"):
		return nil, errUserCount
	case a.Counts == nil:
		return nil, unsupported("which channels have subscriptions")
	}
	counts, err := a.Counts.Channels(ctx, prefix)
	if err != nil {
		return nil, unavailable(err, unread)
	}
	all := make(map[string]attributes, len(counts))
	for channel, n := range counts {
		found, refused := a.attributes(ctx, channel, info{users: asked.users})
		if refused != nil {
			return nil, refused
		}
		if asked.subscriptions {
			found.Subscriptions = &n
		}
		all[channel] = found
	}
	return map[string]any{"channels": all}, nil
}

// channel answers a question about one channel.
func (a *api) channel(ctx context.Context, r request, channel string) (any, *refusal) {
	asked, refused := parseInfo(r.query["info"])
	if refused == nil {
		refused = a.checkChannel(channel)
	}
	if refused == nil && asked.users && !access.KindOf(channel).Presence {
		refused = errUserCount
	}
	if refused != nil {
		return nil, refused
	}
	n, refused := a.subscriptions(ctx, channel)
	if refused != nil {
		return nil, refused
	}
	found, refused := a.attributes(ctx, channel, info{users: asked.users})
	if refused != nil {
		return nil, refused
	}
	if found.Occupied = new(n > 0); asked.subscriptions {
		found.Subscriptions = &n
	}
	return found, nil
}

// A user is a member of a presence channel.
type user struct {
	ID string `json:"id"`
}

// users answers with the members of a presence channel.
func (a *api) users(ctx context.Context, channel string) (any, *refusal) {
	if refused := a.checkChannel(channel); refused != nil {
		return nil, refused
	}
	if !access.KindOf(channel).Presence {
		return nil, errUsers
	}
	members, refused := a.members(ctx, channel)
	if refused != nil {
		return nil, refused
	}
	list := make([]user, len(members))
	for i, id := range members {
		list[i].ID = id
	}
	return map[string]any{"users": list}, nil
}

// connections answers with the number of clients.
func (a *api) connections(ctx context.Context, _ request) (any, *refusal) {
	if a.Connections == nil {
		return nil, unsupported("how many connections there are")
	}
	n, err := a.Connections(ctx)
	if err != nil {
		return nil, unavailable(err, unread)
	}
	return map[string]int{"connections": n}, nil
}

// terminate ends the connections of a user.
func (a *api) terminate(ctx context.Context, user string) (any, *refusal) {
	switch {
	case !access.ValidUser(user):
		return nil, invalid("the path does not contain the id of a user")
	case a.Terminate == nil:
		return nil, unsupported("how to end connections")
	}
	if err := a.Terminate(ctx, user); err != nil {
		return nil, unavailable(err, "Redis is unavailable, so not all connections may be closed; the relay's log says why")
	}
	return nil, nil
}
