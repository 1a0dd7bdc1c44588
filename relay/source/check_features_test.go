package source_test

import (
	"slices"
	"strings"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// TestCheckNamesMissingRights removes the rights of each feature one by one: the
// check names exactly the one that is missing. It writes nothing.
func TestCheckNamesMissingRights(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	prefixes := func(c *source.Config) { c.Names = access.NewNames("", "sidecast:") }
	for _, tt := range []struct {
		lines    []string // of the table of rights
		subject  string
		settings func(*source.Config)
	}{
		{[]string{"ending logins"}, "revocations", func(c *source.Config) { c.Logins = true }},
		{[]string{"ending connections"}, "ending connections", func(c *source.Config) { c.Features.Terminates = true }},
		{[]string{"presence"}, "presence", func(c *source.Config) { c.Features.Presence, c.Features.Events = true, true }},
		{[]string{"events"}, "events", func(c *source.Config) { c.Features.Events = true }},
		{[]string{"webhooks"}, "webhooks", func(c *source.Config) { c.Features.Webhooks = true }},
		{[]string{"messages without"}, "unheard messages", func(c *source.Config) { c.Features.Unheard = true }},
		{[]string{"counting"}, "subscription counts", func(c *source.Config) { c.Features.Counts = true }},
		{[]string{"publishing"}, "streams order:*", func(c *source.Config) { c.Features.Appends, c.Durable = true, c.Patterns[:1] }},
	} {
		var rights []string
		for _, line := range tt.lines {
			rights = append(rights, redistest.Rights(t, line)...)
		}
		check := func(without string) (problems []source.Finding) {
			granted := slices.Clone(rights)
			if i := slices.Index(granted, without); i >= 0 {
				granted = slices.Delete(granted, i, i+1)
			}
			base := []string{"&order:*", "&sidecast:*", "+publish", "+role", "+info"}
			if tt.subject == "streams order:*" {
				base = append(base, "%R~order:*", "+xrange", "+xrevrange", "+xinfo")
			}
			user := aclUser(t, server, slices.Concat(base, granted)...)
			for _, f := range source.Check(t.Context(), checkConfig(server.Addr, []string{"order:*"}, user, prefixes, tt.settings)) {
				if f.Level != source.LevelOK {
					problems = append(problems, f)
				}
			}
			return problems
		}
		if problems := check(""); len(problems) > 0 {
			t.Errorf("%s, with all rights: %q", tt.subject, report(problems))
		}
		for _, right := range rights {
			problems := check(right)
			named := len(problems) > 0
			for _, f := range problems {
				named = named && f.Level == source.LevelWarn && slices.Contains(strings.Fields(f.Do), right)
			}
			if !named {
				t.Errorf("%s without %s: %q", tt.subject, right, report(problems))
			}
		}
	}
	if keys := server.CLI("KEYS", "*"); keys != "" {
		t.Errorf("the check created the keys %s", keys)
	}
}
