package source

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

func TestFilter(t *testing.T) {
	tests := []struct {
		why                    string
		pattern, name, payload string
		want                   string
		reason                 stats.DropReason
		drops                  uint64
	}{
		{"the first pattern owns the channel", "app:a*", "app:ab", "x", `publish "ab" "x"`, 0, 0},
		{"the copy of a later pattern", "app:*b", "app:ab", "x", "", stats.DropOverlap, 1},
		{"a later pattern if the first does not match", "app:*b", "app:bb", "x", `publish "bb" "x"`, 0, 0},
		{"reserved with the prefix", "app:*b", "app:sidecast:b", "x", "", stats.DropReserved, 1},
		{"a reserved name of Redis", "app:*b", "app:__b", "x", "", stats.DropReserved, 0},
		{"a control character", "app:a*", "app:a\n", "x", "", stats.DropName, 1},
		{"nothing after the prefix", "app:*b", "app:", "x", "", stats.DropName, 1},
		{"without the prefix", "app:*b", "b", "x", "", stats.DropName, 1},
		{"201 bytes", "app:a*", "app:" + strings.Repeat("a", 201), "x", "", stats.DropName, 1},
		{"200 bytes", "app:a*", "app:" + strings.Repeat("a", 200), "",
			fmt.Sprintf("publish %q %q", strings.Repeat("a", 200), ""), 0, 0},
		{"a name of 1 MiB", "app:a*", "app:" + strings.Repeat("a", 1<<20), "x", "", stats.DropName, 1},
		{"the maximum length", "app:a*", "app:a", strings.Repeat("p", 64),
			fmt.Sprintf("publish %q %q", "a", strings.Repeat("p", 64)), 0, 0},
		{"one byte over the maximum", "app:a*", "app:a", strings.Repeat("p", 65), `oversize "a"`, stats.DropOversize, 1},
		{"longer than the buffer", "app:a*", "app:a", strings.Repeat("\r\n*4", bufferMax),
			`oversize "a"`, stats.DropOversize, 1},
		{"an oversize copy counts as a copy", "app:*b", "app:ab", strings.Repeat("p", 65), "", stats.DropOverlap, 1},
	}
	for _, test := range tests {
		t.Run(test.why, func(t *testing.T) {
			counters := new(stats.Stats)
			var reported []string
			stream := encodeReply(2, "subscribe", "sidecast:mark") + ":1\r\n" +
				encodeReply(2, "psubscribe", "app:*b") + ":2\r\n" + encodeReply(2, "psubscribe", "app:a*") + ":3\r\n" +
				encodeReply(2, "pmessage", test.pattern, test.name, test.payload) +
				encodeReply(2, "pmessage", "app:a*", "app:a:end", "")
			got := withoutFlush(playThrough(t, stream, nil, 2, func(c *Config) {
				c.Names = access.NewNames("app:", "")
				c.Patterns = access.Patterns{access.MustPattern("a*"), access.MustPattern("*b")}
				c.MaxPayload = 64
				c.Stats = counters
				c.Dropped = func(name []byte, reason stats.DropReason) {
					reported = append(reported, string(name)+" "+stats.DropReasons[reason])
				}
			}))
			want := []string{`publish "a:end" ""`, "offline"}
			if test.want != "" {
				want = append([]string{test.want}, want...)
			}
			if !slices.Equal(got[4:], want) {
				t.Errorf("got %.200q, want %.200q", got[4:], want)
			}
			byName := test.drops > 0 && (test.reason == stats.DropName || test.reason == stats.DropReserved)
			if want := byName && len(test.name) <= len("app:")+access.MaxChannelName; want != (len(reported) == 1) || want &&
				reported[0] != strings.TrimPrefix(test.name, "app:")+" "+stats.DropReasons[test.reason] {
				t.Errorf("reported %.200q", reported)
			}
			if test.drops == 0 {
				return
			}
			for reason := range counters.Dropped {
				drops := uint64(0)
				if stats.DropReason(reason) == test.reason {
					drops = test.drops
				}
				if got := counters.Dropped[reason].Load(); got != drops {
					t.Errorf("%d dropped as %s, want %d", got, stats.DropReasons[reason], drops)
				}
			}
		})
	}
}
