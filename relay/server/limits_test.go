package server

import "testing"

// The limit on connections leaves file descriptors for the relay itself, also
// if the operator sets a higher one.
func TestConnections(t *testing.T) {
	for _, test := range []struct{ limit, files, want int }{
		{0, 0, 50_000},
		{60_000, 0, 60_000},
		{0, 1 << 20, 50_000},
		{60_000, 1 << 20, 60_000},
		{0, 1024, 816},
		{800, 1024, 800},
		{10_000, 1024, 896},
		{0, 256, 128},
		{100, 256, 100},
		{250, 256, 128},
		{1000, 64, 16},
		{0, 1, 1},
	} {
		if got, _ := connectionsWith(test.limit, test.files); got != test.want {
			t.Errorf("limit %d, %d files: %d connections, want %d", test.limit, test.files, got, test.want)
		}
	}
}
