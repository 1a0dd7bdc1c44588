package stream

import (
	"log/slog"
	"testing"

	"sidecast/relay/stats"
)

// Nudges and entries account for each other in whatever order they come and are read.
func TestNudgesAccount(t *testing.T) {
	counters := new(stats.Stats)
	rs := NewReaders(Config{Stats: counters, Now: func() int64 { return 0 }, Logger: slog.New(slog.DiscardHandler)})
	tests := []struct {
		name  string
		steps string // n, N: a nudge without and with a payload; (: a read begins; 1-9: it finds so many entries; ): it ends
		want  uint64
	}{
		{"a nudge with its entry", "N(1)", 0},
		{"none", "N()", 1},
		{"of three, two have entries", "NNN(2)", 1},
		{"the entry was read before its nudge came", "n(2)N()", 0},
		{"and one more is one too many", "n(2)NN()", 1},
		{"a nudge comes while its entry is missed by a read", "N(N1)(1)", 0},
		{"a nudge comes while its entry is found by a read", "N(N2)()", 0},
		{"one of those has none", "N(N1)()", 1},
		{"those without a payload are never wrong", "nnn()n(1)()", 0},
		{"they take entries, too", "nN(1)", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newReader(rs, "a", nil, 0)
			before := counters.Dropped[stats.DropNudge].Load()
			loaded, plain := 0, 0
			for _, step := range tt.steps {
				switch step {
				case 'n', 'N':
					d.Nudge(step == 'N')
				case '(':
					loaded, plain = d.withPayload.received, d.empty.received
				case ')':
					d.settleNudges(loaded, plain)
				default:
					d.accountLocked(int(step - '0'))
				}
			}
			if got := counters.Dropped[stats.DropNudge].Load() - before; got != tt.want {
				t.Errorf("%d nudges are unfounded, want %d", got, tt.want)
			}
		})
	}
}
