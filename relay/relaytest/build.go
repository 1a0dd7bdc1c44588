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

// Build returns the path of the sidecast binary, which it builds from this module once per test process: with the race
// detector where the tests run with it. A binary that does not build ends the test. The file goes with the test process,
// except on Windows, where it stays in the directory for temporary files.
func Build(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) { return buildInto("sidecast") })

// buildDir is where the binaries of this test process are.
var buildDir = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sidecast-relaytest-")
	if err != nil {
		return "", fmt.Errorf("making room for the binary: %w", err)
	}
	if err := removeAtExit(dir); err != nil {
		return "", fmt.Errorf("making sure that the binary is removed: %w", err)
	}
	return dir, nil
})

// buildInto builds the binary under a name of its own, with more arguments.
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
