package config

import (
	"errors"
	"testing"

	"sidecast/relay/syntax"
)

// The first pattern that matches a channel counts.
func TestLastListFor(t *testing.T) {
	var list LastList
	if err := list.Decode("price:gold=0, price:*=1, a=b=5, *=100"); err != nil {
		t.Fatal(err)
	}
	for channel, want := range map[string]int{"price:gold": 0, "price:7": 1, "a=b": 5, "other": 100} {
		if got := list.For(channel); got != want {
			t.Errorf("%s: %d, want %d", channel, got, want)
		}
	}
	if got := LastList(nil).For("price:7"); got != 0 {
		t.Errorf("without the setting: %d", got)
	}
}

func TestLastListRejects(t *testing.T) {
	for value, want := range map[string]string{
		"":           "separate items with commas, or unset it",
		"price:*":    "write price:*=1 for the newest message",
		"price:*=":   "write only digits, like 1000",
		"price:*=-1": "write only digits, like 1000",
		"price:*=x":  "write only digits, like 1000",
		"a=1,b=101":  "write at most 100",
		"=1":         "separate items with commas, or unset it",
		"[a=1":       "write Redis globs, as for PSUBSCRIBE",
	} {
		err, ok := errors.AsType[*syntax.Error](new(LastList).Decode(value))
		if !ok || err.Hint != want {
			t.Errorf("%q: %v, want %s", value, err, want)
		}
	}
}
