//go:build unix

package app_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidecast/config"
	"sidecast/relay/app"
	"sidecast/relay/blackbox"
	"sidecast/relay/server"
)

// boxSettings are those of a relay without clients whose records are in a file.
func boxSettings(path string) map[string]string {
	return map[string]string{
		"REDIS_URL": "redis://127.0.0.1:1", "CHANNELS": "chat", "PUBLIC_CHANNELS": "chat", "LISTEN": "127.0.0.1:0",
		"ADMIN_LISTEN": "127.0.0.1:0", "BLACKBOX_BYTES": "1MiB", "BLACKBOX_FILE": path,
	}
}

// stop runs a relay that is stopped already.
func stop(t *testing.T, a *app.App) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(server.ErrHurry)
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
}

// The file of the black box belongs to one relay while it runs, only its user
// can read it, and the next relay goes on with it.
func TestBlackboxFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "box")
	cfg := load(t, boxSettings(path))
	for range 2 {
		a, err := app.New(cfg, app.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("the file is %v, %v", info.Mode(), err)
		}
		if _, err := app.New(cfg, app.Options{}); err == nil || !strings.Contains(err.Error(), "another process uses it") {
			t.Errorf("a second relay with the same file: %v", err)
		}
		stop(t, a)
	}
	if _, err := blackbox.ReadFile(path); err != nil {
		t.Error(err)
	}
}

// A file that cannot be used is a fault of the setting, which says what to do.
func TestBlackboxFileFaults(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(write("target", "", 0o600), link); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ path, want string }{
		"no directory":       {filepath.Join(dir, "missing", "box"), "create the directory"},
		"a directory":        {dir, "not of a directory"},
		"a symbolic link":    {link, "not of a symbolic link"},
		"others may read it": {write("public", "", 0o644), "give it mode 0600"},
		"another file":       {write("notes", "notes", 0o600), "remove it"},
		"not a file":         {"/dev/null", "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := app.New(load(t, boxSettings(tt.path)), app.Options{})
			var faults config.Faults
			if !errors.As(err, &faults) || len(faults) != 1 || faults[0].Name != "SIDECAST_BLACKBOX_FILE" {
				t.Fatalf("the error is %v", err)
			}
			if text := err.Error(); !strings.Contains(text, tt.want) || !strings.Contains(text, tt.path) || strings.Contains(text, "\n") {
				t.Errorf("the error is %q, want %q in it", text, tt.want)
			}
		})
	}
}

// Another size needs another file.
func TestBlackboxFileOfAnotherSize(t *testing.T) {
	settings := boxSettings(filepath.Join(t.TempDir(), "box"))
	a, err := app.New(load(t, settings), app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, a)
	settings["BLACKBOX_BYTES"] = "2MiB"
	if _, err := app.New(load(t, settings), app.Options{}); err == nil || !strings.Contains(err.Error(), "remove it, or set the size") {
		t.Errorf("the error is %v", err)
	}
}
