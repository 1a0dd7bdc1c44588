package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"sidecast/relay/relaytest/redistest"
)

// cacheDir gives the test a cache directory of its own and returns the path of the address file.
func cacheDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir) // Linux
	t.Setenv("HOME", dir)           // macOS
	t.Setenv("LocalAppData", dir)   // Windows
	path, err := addressFile()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func addresses(s *Server) Addresses {
	return Addresses{Redis: s.Addr(), Relay: "127.0.0.1:8080/base", Admin: "127.0.0.1:9190", PID: os.Getpid()}
}

func write(t *testing.T, a Addresses) (remove func()) {
	t.Helper()
	remove, err := WriteAddresses(a)
	if err != nil {
		t.Fatal(err)
	}
	return remove
}

func wantAddresses(t *testing.T, want Addresses) {
	t.Helper()
	if got, err := ReadAddresses(); err != nil || got != want {
		t.Errorf("ReadAddresses = %+v, %v; want %+v", got, err, want)
	}
}

func wantNotRunning(t *testing.T) {
	t.Helper()
	if got, err := ReadAddresses(); !errors.Is(err, ErrNotRunning) || got != (Addresses{}) {
		t.Errorf("ReadAddresses = %+v, %v; want %v", got, err, ErrNotRunning)
	}
}

func TestAddresses(t *testing.T) {
	path := cacheDir(t)
	wantNotRunning(t)

	s := start(t)
	remove := write(t, addresses(s))
	wantAddresses(t, addresses(s))
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
		t.Errorf("left behind: %v, %v", files, err)
	}
	remove() // again: nothing to do
}

// The last one that starts is the one that is found, and the first one that stops does not take that away.
func TestTwoRelays(t *testing.T) {
	cacheDir(t)
	first, second := start(t), start(t)
	removeFirst := write(t, addresses(first))
	removeSecond := write(t, addresses(second))
	wantAddresses(t, addresses(second))
	removeFirst()
	wantAddresses(t, addresses(second))
	removeSecond()
	wantNotRunning(t)
}

// What a relay left behind that was killed leads nowhere.
func TestStaleAddresses(t *testing.T) {
	s := start(t)
	tests := []struct {
		name  string
		write func(t *testing.T, path string)
	}{
		{"its Redis does not answer", func(t *testing.T, _ string) {
			write(t, Addresses{Redis: redistest.FreeAddr(t), PID: os.Getpid()})
		}},
		{"another process has taken the port", func(t *testing.T, _ string) {
			write(t, Addresses{Redis: s.Addr(), PID: os.Getpid() + 1})
		}},
		{"a real Redis has taken the port, and somebody the process id", func(t *testing.T, _ string) {
			write(t, Addresses{Redis: redistest.Start(t).Addr, PID: os.Getpid()})
		}},
		{"the file is garbage", func(t *testing.T, path string) {
			if err := replace(path, []byte("{")); err != nil {
				t.Fatal(err)
			}
		}},
		{"the file is empty", func(t *testing.T, path string) {
			if err := replace(path, nil); err != nil {
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

// A file that cannot be read is told, not taken for none.
func TestUnreadableAddresses(t *testing.T) {
	path := cacheDir(t)
	if err := os.MkdirAll(path, 0o700); err != nil { // a directory in its place
		t.Fatal(err)
	}
	if _, err := ReadAddresses(); err == nil || errors.Is(err, ErrNotRunning) {
		t.Errorf("ReadAddresses = %v", err)
	}
	if _, err := WriteAddresses(Addresses{}); err == nil {
		t.Error("WriteAddresses replaced a directory")
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}
