//go:build unix

package blackbox_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"sidecast/relay/blackbox"
)

// If the file is truncated, or its disk has no room or fails, the relay goes on
// and records in memory. That is noticed at a record, at a new segment, or by a
// reader.
func TestFileIsTruncated(t *testing.T) {
	for name, notice := range map[string]func(*blackbox.Box){
		"at a record": func(box *blackbox.Box) { box.CaughtUp(1) },
		"by a reader": func(box *blackbox.Box) { readAll(box.NewReader(time.Time{})) },
		"at a new segment": func(box *blackbox.Box) {
			for range 50_000 {
				box.Refused(blackbox.Refusal{Channel: "chat", Reason: "forbidden"})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "box")
			box := open(t, blackbox.MinBytes, path)
			box.CaughtUp(1)
			reader := box.NewReader(time.Time{})
			reader.Next()
			if err := os.Truncate(path, 4096); err != nil {
				t.Fatal(err)
			}
			if box.Err() != nil {
				t.Fatal(box.Err())
			}
			notice(box)
			if box.Err() == nil {
				t.Error("it was not noticed")
			}
			box.CaughtUp(2)
			for range 10_000 {
				box.CaughtUp(3)
			}
			if all := readAll(reader); len(all) < 10_000 {
				t.Errorf("%d records after it", len(all))
			}
			if all := readAll(box.NewReader(time.Time{})); len(all) < 10_000 {
				t.Errorf("%d records in memory", len(all))
			}
			if err := box.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
