//go:build unix

package blackbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sidecast/relay/blackbox"
)

// A relay that was killed while it created the file finishes that at its next
// start. A file with other content of the same size is not touched.
func TestCreationIsInterrupted(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	_ = open(t, blackbox.MinBytes, whole).Close()
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 10, 16, 100, 4096, 5000, blackbox.MinBytes / 2, len(content) - 1} {
		path := filepath.Join(dir, "box")
		part := make([]byte, size)
		copy(part, content[:min(size, 28)]) // without a boot
		if err := os.WriteFile(path, part, 0o600); err != nil {
			t.Fatal(err)
		}
		box, err := blackbox.Open(blackbox.MinBytes, path)
		if err != nil {
			t.Errorf("%d bytes: %v", size, err)
			continue
		}
		box.CaughtUp(7)
		if reader, err := blackbox.ReadFile(path); err != nil || len(readAll(reader)) != 1 {
			t.Errorf("%d bytes: %v", size, err)
		}
		_ = box.Close()
		_ = os.Remove(path)
	}
	path := filepath.Join(dir, "larger")
	if err := os.WriteFile(path, content[:100_000], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := blackbox.Open(2*blackbox.MinBytes, path); err == nil || !strings.Contains(err.Error(), "100000 bytes") {
		t.Errorf("a part of a file of another size: %v", err)
	}
}

// A relay can start while the file is looked at, and soon after another relay has
// released it.
func TestLockIsReleasedSoon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "box")
	_ = open(t, blackbox.MinBytes, path).Close()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = f.Close() })
	open(t, blackbox.MinBytes, path)
}
