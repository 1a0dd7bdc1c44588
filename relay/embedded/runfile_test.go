package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"sidecast/relay/relaytest/redistest"
)

// cacheDir gives the test a separate cache directory and returns the path of
// the runfile.
func cacheDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir) // Linux
	t.Setenv("HOME", dir)           // macOS
	t.Setenv("LocalAppData", dir)   // Windows
	path, err := runfilePath()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func runfile(s *Server) Runfile {
	return Runfile{Redis: s.Addr(), Relay: "127.0.0.1:8080/base", Admin: "127.0.0.1:9190", PID: os.Getpid()}
}

func write(t *testing.T, r Runfile) (remove func()) {
	t.Helper()
	remove, err := WriteRunfile(r)
	if err != nil {
		t.Fatal(err)
	}
	return remove
}

func wantRunfile(t *testing.T, want Runfile) {
	t.Helper()
	if got, err := ReadRunfile(); err != nil || got != want {
		t.Errorf("ReadRunfile = %+v, %v; want %+v", got, err, want)
	}
}

func wantNotRunning(t *testing.T) {
	t.Helper()
	if got, err := ReadRunfile(); !errors.Is(err, ErrNotRunning) || got != (Runfile{}) {
		t.Errorf("ReadRunfile = %+v, %v; want %v", got, err, ErrNotRunning)
	}
}

func TestRunfile(t *testing.T) {
	path := cacheDir(t)
	wantNotRunning(t)

	s := start(t)
	remove := write(t, runfile(s))
	wantRunfile(t, runfile(s))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("the file has mode %o, want 600", mode)
	}

	remove()
	wantNotRunning(t)
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 0 {
		t.Errorf("remaining files: %v, %v", files, err)
	}
	remove() // the second call does nothing
}

// ReadRunfile finds the relay that started last, even after an earlier one has
// stopped.
func TestTwoRelays(t *testing.T) {
	cacheDir(t)
	first, second := start(t), start(t)
	removeFirst := write(t, runfile(first))
	removeSecond := write(t, runfile(second))
	wantRunfile(t, runfile(second))
	removeFirst()
	wantRunfile(t, runfile(second))
	removeSecond()
	wantNotRunning(t)
}

// The runfile of a relay that was killed is ignored.
func TestStaleRunfile(t *testing.T) {
	s := start(t)
	tests := []struct {
		name  string
		write func(t *testing.T, path string)
	}{
		{"its Redis does not answer", func(t *testing.T, _ string) {
			write(t, Runfile{Redis: redistest.FreeAddr(t), PID: os.Getpid()})
		}},
		{"another process uses the port", func(t *testing.T, _ string) {
			write(t, Runfile{Redis: s.Addr(), PID: os.Getpid() + 1})
		}},
		{"a real Redis uses the port, and another process has the process id", func(t *testing.T, _ string) {
			write(t, Runfile{Redis: redistest.Start(t).Addr, PID: os.Getpid()})
		}},
		{"the file is invalid", func(t *testing.T, path string) {
			if err := replaceFile(path, []byte("{")); err != nil {
				t.Fatal(err)
			}
		}},
		{"the file is empty", func(t *testing.T, path string) {
			if err := replaceFile(path, nil); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.write(t, cacheDir(t))
			wantNotRunning(t)
		})
	}
}

// A file that cannot be read is an error, not the same as a missing file.
func TestUnreadableRunfile(t *testing.T) {
	path := cacheDir(t)
	if err := os.MkdirAll(path, 0o700); err != nil { // a directory instead of a file
		t.Fatal(err)
	}
	if _, err := ReadRunfile(); err == nil || errors.Is(err, ErrNotRunning) {
		t.Errorf("ReadRunfile = %v", err)
	}
	if _, err := WriteRunfile(Runfile{}); err == nil {
		t.Error("WriteRunfile replaced a directory")
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("remaining files: %v, %v", files, err)
	}
}
