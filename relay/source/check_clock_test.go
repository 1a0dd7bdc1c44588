package source

import (
	"strings"
	"testing"
	"time"
)

// TestClockFinding checks how a clock that differs is reported, and that the
// time for the question counts as no difference.
func TestClockFinding(t *testing.T) {
	asked := time.Now()
	answered := asked.Add(3 * time.Second)
	for _, test := range []struct {
		why   string
		shown time.Duration // after asked
		want  string
	}{
		{"equal", 0, ""},
		{"asked long before", 3 * time.Second, ""},
		{"nearly a second ahead", 3900 * time.Millisecond, ""},
		{"a second behind", -time.Second, ""},
		{"ahead", 33 * time.Second, "the clock of Redis is 30s ahead of this machine's"},
		{"behind", -30 * time.Second, "the clock of Redis is 30s behind this machine's"},
	} {
		level, text, do := clockFinding(asked.Add(test.shown), asked, answered)
		if (level == LevelWarn) != (test.want != "") || !strings.HasPrefix(text, test.want) || (do != "") != (level == LevelWarn) {
			t.Errorf("%s: %v %s; %s", test.why, level, text, do)
		}
	}
}
