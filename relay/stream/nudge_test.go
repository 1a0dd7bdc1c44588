package stream

import (
	"log/slog"
	"testing"

	"sidecast/relay/stats"
)

// TestNudgesMatchEntries matches nudges with entries in every order in which
// they can arrive and be read.
func TestNudgesMatchEntries(t *testing.T) {
	counters := new(stats.Stats)
	rs := NewReaders(Config{Stats: counters, Now: func() int64 { return 0 }, Logger: slog.New(slog.DiscardHandler)})
	tests := []struct {
		name  string
		steps string // n, N: a nudge without and with a payload; (: a read begins; 1-9: it finds that many entries; ): it ends
		want  uint64 // number of spurious nudges
	}{
		{"a nudge with its entry", "N(1)", 0},
		{"a nudge without an entry", "N()", 1},
		{"two of three nudges have entries", "NNN(2)", 1},
		{"the entry is read before its nudge arrives", "n(2)N()", 0},
		{"the entry is read before two nudges arrive", "n(2)NN()", 1},
		{"a nudge arrives during a read that misses its entry", "N(N1)(1)", 0},
		{"a nudge arrives during a read that finds its entry", "N(N2)()", 0},
		{"a nudge arrives during a read, and one of two has no entry", "N(N1)()", 1},
		{"nudges without a payload are never spurious", "nnn()n(1)()", 0},
		{"nudges without a payload match entries first", "nN(1)", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newReader(rs, "a", nil, 0)
			before := counters.Dropped[stats.DropNudge].Load()
			withPayload, withoutPayload := 0, 0
			for _, step := range tt.steps {
				switch step {
				case 'n', 'N':
					r.Nudge(step == 'N')
				case '(':
					withPayload, withoutPayload = r.withPayload.received, r.withoutPayload.received
				case ')':
					r.checkNudges(withPayload, withoutPayload)
				default:
					r.matchEntriesLocked(int(step - '0'))
				}
			}
			if got := counters.Dropped[stats.DropNudge].Load() - before; got != tt.want {
				t.Errorf("%d nudges are spurious, want %d", got, tt.want)
			}
		})
	}
}
