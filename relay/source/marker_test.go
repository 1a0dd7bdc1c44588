package source

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

// TestMarkerIsGolden guards the format that relays of other versions parse.
func TestMarkerIsGolden(t *testing.T) {
	m := marker{
		id:  [8]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0, 0, 1},
		run: [8]byte{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77}, settings: [4]byte{0xde, 0xad, 0xbe, 0xef},
	}
	const want = "1 0123456789000001 0011223344556677 deadbeef"
	if got := m.encode(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, ok := parseMarker([]byte(want)); !ok || got != m {
		t.Errorf("parsed as %v, %v", got, ok)
	}
	if got, ok := parseMarker([]byte(want + " a later field")); !ok || got != m {
		t.Errorf("with a later field: %v, %v", got, ok)
	}
}

func TestInvalidMarkersAreRejected(t *testing.T) {
	for _, payload := range []string{
		"", "1", "hello", "2 0123456789000001 0011223344556677 deadbeef", "1 0123456789000001 0011223344556677",
		"1 012345678900000 0011223344556677 deadbeef", "1 012345678900000g 0011223344556677 deadbeef",
		"1  0123456789000001 0011223344556677 deadbeef", "1 0123456789000001 0011223344556677 deadbeef0",
	} {
		if m, ok := parseMarker([]byte(payload)); ok {
			t.Errorf("%q was parsed as %v", payload, m)
		}
	}
}

// TestSettingsHash checks which settings change the hash, and guards the hash
// itself, because replicas of two versions must agree on it.
func TestSettingsHash(t *testing.T) {
	list := func(sources ...string) access.Patterns {
		patterns, err := access.ParsePatterns(sources)
		if err != nil {
			t.Fatal(err)
		}
		return patterns
	}
	base := settingsHash(access.NewNames("app:", ""), list("chat:*", "news"))
	if base != [4]byte{0xc4, 0x6b, 0xc1, 0xa3} {
		t.Errorf("the hash changed to %x", base)
	}
	if got := settingsHash(access.NewNames("app:", ""), list("news", "chat:*", "news")); got != base {
		t.Error("the order of the patterns, or a repeated one, changes the hash")
	}
	for name, got := range map[string][4]byte{
		"patterns":       settingsHash(access.NewNames("app:", ""), list("chat:*")),
		"channel prefix": settingsHash(access.NewNames("", ""), list("chat:*", "news")),
		"key prefix":     settingsHash(access.NewNames("app:", "x:"), list("chat:*", "news")),
	} {
		if got == base {
			t.Errorf("a different %s has the same hash", name)
		}
	}
}

func TestMarkerIDsAreNeverUsedTwice(t *testing.T) {
	p := newProbe(testLink(t, new(discardSink)))
	p.counter = 1<<24 - 3
	seen := make(map[[8]byte]bool)
	for range 10 {
		id := p.nextID()
		if seen[id] {
			t.Fatalf("%x was used twice", id)
		}
		seen[id] = true
	}
	if other := newProbe(testLink(t, new(discardSink))); other.prefix == p.prefix || other.runID == p.runID {
		t.Error("two relays share their random bits")
	}
}

// TestUntilNextMarker checks when the next marker is published, depending on
// the last ones.
func TestUntilNextMarker(t *testing.T) {
	at := time.Now()
	ago := func(d time.Duration) time.Time { return at.Add(-d) }
	tests := []struct {
		why       string
		seen, own time.Duration // ago
		refused   time.Duration
		want      time.Duration
	}{
		{"no marker for long", 2 * time.Second, 2 * time.Second, 0, -time.Second},
		{"another relay's just now", 100 * time.Millisecond, 2 * time.Second, 0, 900 * time.Millisecond},
		{"ours was just published and is not received yet", 2 * time.Second, 0, 0, time.Second},
		{"only other relays' for the maximum time", 100 * time.Millisecond, 5 * time.Second, 0, 0},
		{"refused", 2 * time.Second, 2 * time.Second, 10 * time.Second, 50 * time.Second},
	}
	for _, test := range tests {
		p := newProbe(testLink(t, new(discardSink)))
		p.live, p.quietFor, p.lastSeen, p.lastOwn = true, time.Second, ago(test.seen), ago(test.own)
		if test.refused > 0 {
			p.refusedAt = ago(test.refused)
		}
		if got := p.untilNext(at); got != test.want {
			t.Errorf("%s: due in %v, want %v", test.why, got, test.want)
		}
		p.end()
		if got := p.untilNext(at); got < time.Minute {
			t.Errorf("%s: due in %v after the epoch", test.why, got)
		}
	}
}

// TestOlderMarkerIsLost skips one of the relay's own markers.
func TestOlderMarkerIsLost(t *testing.T) {
	tests := []struct {
		why      string
		answered time.Time // the older one
		want     uint64
	}{
		{"Redis accepted it and delivered only the next one", time.Now(), 1},
		{"Redis may not have received it", time.Time{}, 0},
	}
	for _, test := range tests {
		t.Run(test.why, func(t *testing.T) {
			stats := new(stats.Stats)
			p := newProbe(testLink(t, new(discardSink), func(c *Config) { c.Stats = stats }))
			p.begin(true)
			older := marker{id: p.nextID(), run: p.runID, settings: p.settings}
			newer := marker{id: p.nextID(), run: p.runID, settings: p.settings}
			p.sent = []sentMarker{{id: older.id, answeredAt: test.answered}, {id: newer.id, publishedAt: time.Now()}}
			p.received(newer)
			if got := stats.MarkersLost.Load(); got != test.want {
				t.Errorf("%d lost, want %d", got, test.want)
			}
			if len(p.sent) != 0 {
				t.Errorf("%d markers are still expected", len(p.sent))
			}
			if count, _, _ := stats.MarkerTrip.Snapshot(); count != 1 {
				t.Errorf("%d round trips", count)
			}
		})
	}
}

// TestRecordAnswer checks the effect of each answer to the PUBLISH of a marker.
func TestRecordAnswer(t *testing.T) {
	denied, timeout := errors.New("NOPERM no"), errors.New("i/o timeout")
	stats := new(stats.Stats)
	p := newProbe(testLink(t, new(discardSink), func(c *Config) { c.Stats = stats }))
	p.begin(true)
	send := func() marker {
		m := marker{id: p.nextID(), run: p.runID, settings: p.settings}
		p.sent = append(p.sent, sentMarker{id: m.id})
		return m
	}
	if p.recordAnswer(send(), nil); len(p.sent) != 1 || p.sent[0].answeredAt.IsZero() {
		t.Errorf("answered: %v", p.sent)
	}
	if p.recordAnswer(send(), timeout); len(p.sent) != 1 || p.failingSince.IsZero() || !p.refusedAt.IsZero() {
		t.Errorf("not answered: %v are still expected, failing since %v", p.sent, p.failingSince)
	}
	if p.recordAnswer(send(), denied); len(p.sent) != 1 || p.refusedAt.IsZero() || stats.MarkersLost.Load() != 1 {
		t.Errorf("refused: %v are still expected, refused at %v", p.sent, p.refusedAt)
	}
	if p.recordAnswer(send(), nil); !p.refusedAt.IsZero() || !p.failingSince.IsZero() {
		t.Error("an answer does not reset the failures")
	}
}

func FuzzMarker(f *testing.F) {
	f.Add([]byte("1 0123456789000001 0011223344556677 deadbeef"))
	f.Add([]byte("1 0123456789000001 0011223344556677 deadbeef x"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if m, ok := parseMarker(payload); ok && !strings.EqualFold(m.encode(), string(payload[:min(44, len(payload))])) {
			t.Errorf("%q was parsed as %s", payload, m.encode())
		}
	})
}
