package relay_test

import (
	"testing"
	"testing/synctest"

	"sidecast/relay/history"
	"sidecast/relay/outbox/outboxtest"
)

// Only who names a place that this relay has counted to, and says what was said up to there, gets what follows it: anything
// else comes from another history, and what follows here is not what the client missed.
func TestResumeOnlyFromWhatWasSaid(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*history.Cursor)
		want   string
	}{
		"the place itself":                        {func(*history.Cursor) {}, "subscribed true,3,4"},
		"its mark":                                {func(c *history.Cursor) { c.Index, c.Check = 0, 0 }, "subscribed true,1,2,3,4"},
		"one message on, with the same check":     {func(c *history.Cursor) { c.Index++ }, "subscribed false"},
		"one message back, with the same check":   {func(c *history.Cursor) { c.Index-- }, "subscribed false"},
		"other messages were heard":               {func(c *history.Cursor) { c.Check ^= 1 }, "subscribed false"},
		"nothing was heard, as many times":        {func(c *history.Cursor) { c.Check = 0 }, "subscribed false"},
		"as much as here, and other messages":     {func(c *history.Cursor) { c.Index, c.Check = 4, c.Check^1 }, "subscribed false"},
		"more than here":                          {func(c *history.Cursor) { c.Index = 5 }, "subscribed false"},
		"as many as there can be":                 {func(c *history.Cursor) { c.Index = 1<<64 - 1 }, "subscribed false"},
		"another Redis server":                    {func(c *history.Cursor) { c.Node++ }, "subscribed false"},
		"a mark that nobody heard":                {func(c *history.Cursor) { c.Marker[0] ^= 1 }, "subscribed false"},
		"the mark of somebody else, nothing more": {func(c *history.Cursor) { *c = history.Cursor{Node: c.Node, Marker: history.MarkerID{9}} }, "subscribed false"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, text := missed(t, 1<<20, 0)
				place, ok := history.ParseCursor(text)
				if !ok {
					t.Fatalf("%q is no cursor", text)
				}
				g := s.join(outboxtest.Unlimited)
				g.subscribe("a", text)
				s.say("a", 1, 2)
				place, ok = history.ParseCursor(g.want("before", "subscribed true,1,2"))
				if !ok || place.Index != 2 {
					t.Fatalf("%+v is not behind two messages", place)
				}
				g.leave()
				s.say("a", 3, 4)
				test.change(&place)
				changed, _ := place.AppendText(nil)
				back := s.join(outboxtest.Unlimited)
				back.subscribe("a", string(changed))
				back.want("back", test.want)
				s.say("a", 5, 5)
				back.want("then", "5")
			})
		})
	}
}
