package relaytest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// Build returns the path of the sidecast binary. It builds the binary once per
// test process, with the race detector if the tests run with it, and ends the
// test if that fails. The file is removed when the test process ends, except on
// Windows, where it stays in the directory for temporary files.
func Build(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) { return buildInto("sidecast") })

// buildDir returns the directory for the binaries of this test process.
var buildDir = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sidecast-relaytest-")
	if err != nil {
		return "", fmt.Errorf("creating a directory for the binary: %w", err)
	}
	if err := removeAtExit(dir); err != nil {
		return "", fmt.Errorf("arranging that the binary is removed: %w", err)
	}
	return dir, nil
})

// buildInto builds the binary with this file name and additional arguments.
func buildInto(name string, more ...string) (string, error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	args := append([]string{"build", "-buildvcs=false", "-o", path}, more...)
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "sidecast")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the binary: %w\n%s", err, out)
	}
	return path, nil
}
