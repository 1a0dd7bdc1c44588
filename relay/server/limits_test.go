package server

import "testing"

// The limit on connections leaves file descriptors for the relay itself, also
// if the operator sets a higher one.
func TestConnections(t *testing.T) {
	for _, test := range []struct{ limit, outgoing, files, want int }{
		{0, 32, 0, 50_000},
		{60_000, 32, 0, 60_000},
		{0, 32, 1 << 20, 50_000},
		{60_000, 32, 1 << 20, 60_000},
		{0, 32, 1024, 816},
		{800, 32, 1024, 800},
		{10_000, 32, 1024, 880},
		{10_000, 1000, 1024, 256},
		{0, 32, 256, 112},
		{100, 32, 256, 100},
		{250, 32, 256, 112},
		{1000, 32, 64, 16},
		{0, 32, 1, 1},
	} {
		if got, _ := connectionsWith(test.limit, test.outgoing, test.files); got != test.want {
			t.Errorf("limit %d, %d outgoing, %d files: %d connections, want %d", test.limit, test.outgoing, test.files, got, test.want)
		}
	}
}
