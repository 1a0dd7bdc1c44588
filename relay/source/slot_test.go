package source

import "testing"

// TestSlotOf compares with the answers of CLUSTER KEYSLOT.
func TestSlotOf(t *testing.T) {
	for name, want := range map[string]int{
		"": 0, "sidecast:mark": 1654, "123456789": 12739, "{user1000}.following": 3443, "x{user1000}": 3443,
		"foo{}{bar}": 8363, "foo{{bar}}zap": 4015, "foo{bar": 15278,
	} {
		if got := slotOf(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
}
