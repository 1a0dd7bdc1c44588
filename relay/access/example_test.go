package access_test

import (
	"fmt"

	"sidecast/relay/access"
)

func ExampleParsePattern() {
	p, err := access.ParsePattern("chat:[0-9]*")
	fmt.Println(p, err)
	_, err = access.ParsePattern("chat:[0-9")
	fmt.Println(err)
	// Output:
	// chat:[0-9]* <nil>
	// pattern has a [ without its ]; write \[ for a bracket
}

func ExamplePattern_Match() {
	p := access.MustPattern("chat:*")
	for _, name := range []string{"chat:42", "chat:42:typing", "news"} {
		fmt.Println(name, p.Match(name))
	}
	// Output:
	// chat:42 true
	// chat:42:typing true
	// news false
}

func ExampleRules() {
	rules := access.Rules{
		Names:    access.NewNames("", ""),
		Channels: access.Patterns{access.MustPattern("*")},
		Public:   access.Patterns{access.MustPattern("news")},
		Login:    true,
	}
	user := &access.Identity{User: "42", Own: []string{"user:42"}}

	fmt.Println(rules.Subscribe(nil, "news"))             // public
	fmt.Println(rules.Subscribe(nil, "user:42"))          // an anonymous client can log in
	fmt.Println(rules.Subscribe(user, "user:42"))         // the user's own channel
	fmt.Println(rules.Subscribe(user, "user:43"))         // the channel of another user
	fmt.Println(rules.PublishTo(user, "user:42"))         // no grant to publish
	fmt.Println(rules.Subscribe(user, "sidecast:status")) // reserved
	// Output:
	// ok
	// unauthorized
	// ok
	// forbidden
	// forbidden
	// bad_channel
}
