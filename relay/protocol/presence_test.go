package protocol

import (
	"encoding/json"
	"fmt"
	"testing"
)

// Whatever the users and their infos are, a client of the Pusher protocol receives
// each member once, in order, with its info.
func TestPusherMembers(t *testing.T) {
	type member struct{ user, info string }
	for name, members := range map[string][]member{
		"none":                 {},
		"one without info":     {{"1", ""}},
		"names of a prototype": {{"__proto__", `{"a":1}`}, {"constructor", ""}, {"toString", "null"}},
		"JSON in names":        {{`"`, `1`}, {`\`, ``}, {`},{"user":"`, `[]`}, {`","info":1`, `"x"`}, {"é\u2028", `{}`}},
		"infos of every kind":  {{"1", `{"a":[{"b":"}]"}]}`}, {"2", `"\"},{"`}, {"3", `-1.5e3`}, {"4", `true`}, {"5", `[ 1 , 2 ]`}, {"6", " {\n} "}, {"7", ""}},
	} {
		list := []byte("[")
		for i, m := range members {
			if i > 0 {
				list = append(list, ',')
			}
			list = AppendMember(list, m.user, []byte(m.info))
		}
		data := pusherMembers(Event{Channel: "presence-a", Members: append(list, ']')})
		var got struct {
			Presence struct {
				Count int
				IDs   []string
				Hash  map[string]json.RawMessage
			}
		}
		if err := json.Unmarshal(data, &got); err != nil {
			t.Errorf("%s: %v in %s", name, err, data)
			continue
		}
		p := got.Presence
		if p.Count != len(members) || len(p.IDs) != len(members) || len(p.Hash) != len(members) {
			t.Errorf("%s: %s", name, data)
			continue
		}
		for i, m := range members {
			var have, want any
			_ = json.Unmarshal(p.Hash[m.user], &have)
			_ = json.Unmarshal([]byte(m.info), &want)
			if p.IDs[i] != m.user || fmt.Sprint(have) != fmt.Sprint(want) {
				t.Errorf("%s: member %d is %q with %v, want %q with %v", name, i, p.IDs[i], have, m.user, want)
			}
		}
	}
}

// A client receives the members of a large channel under a lock, so the members
// are not decoded one by one.
func TestPusherMembersAllocate(t *testing.T) {
	list := []byte("[")
	for i := range 1000 {
		list = append(AppendMember(list, fmt.Sprint(i), []byte(`{"name":"Ann"}`)), ',')
	}
	list[len(list)-1] = ']'
	e := Event{Type: EventSubscribed, Channel: "presence-a", Members: list, Count: 1000}
	if n := testing.AllocsPerRun(10, func() { Pusher{}.Event(e) }); n > 5 {
		t.Errorf("%v allocations for 1,000 members", n)
	}
}
