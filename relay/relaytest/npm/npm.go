// Package npm installs packages of npm for tests.
package npm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
)

// Install installs packages into a new directory, which it returns. The
// directory is removed when the test ends. Install skips the test if Node or npm
// is not installed or the registry is unreachable, and fails it if CI=true.
func Install(t testing.TB, packages ...string) string {
	t.Helper()
	redistest.Require(t, "node", "nodejs")
	redistest.Require(t, "npm", "npm")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"private":true,"type":"module"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	Run(t, dir, append([]string{"install", "--silent", "--no-audit", "--no-fund", "--no-progress", "--prefer-offline"}, packages...)...)
	return dir
}

// Run runs npm in a directory. If npm fails, it skips the test, or fails it if
// CI=true.
func Run(t testing.TB, dir string, arguments ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", arguments...)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("npm %q: %v\n%s", arguments, err, output)
	default:
		t.Skipf("npm %q: %v: is the registry reachable?\n%s", arguments, err, output)
	}
}
