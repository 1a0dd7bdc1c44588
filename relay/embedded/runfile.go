package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A Runfile describes a running embedded relay. Each address is a host:port;
// the relay's address includes its base path.
type Runfile struct {
	Redis string `json:"redis"`
	Relay string `json:"relay"`
	Admin string `json:"admin"`
	PID   int    `json:"pid"` // the process that serves all three
}

// ErrNotRunning means that this user has no running embedded relay.
var ErrNotRunning = errors.New("no embedded relay is running: start one with `go run .` or set SIDECAST_REDIS_URL")

// WriteRunfile stores r in the user's cache directory, so that other commands
// of the same user find this relay. It replaces the file of any other relay.
// The returned function removes the file unless another relay has replaced it
// since; call it before the process ends.
func WriteRunfile(r Runfile) (remove func(), err error) {
	path, err := runfilePath()
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding the runfile: %w", err)
	}
	if err := replaceFile(path, content); err != nil {
		return nil, fmt.Errorf("writing the runfile: %w", err)
	}
	return func() {
		// If removing fails, the stale file does no harm: ReadRunfile checks
		// that the relay is alive.
		if current, err := decodeRunfile(path); err == nil && current == r {
			_ = os.Remove(path)
		}
	}, nil
}

// ReadRunfile returns the runfile of this user's embedded relay. It connects to
// the Redis that the file names and checks that the process in the file serves
// it; if not, or if there is no file, it returns [ErrNotRunning].
func ReadRunfile() (Runfile, error) {
	path, err := runfilePath()
	if err != nil {
		return Runfile{}, err
	}
	r, err := decodeRunfile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Runfile{}, ErrNotRunning
	case err != nil:
		return Runfile{}, fmt.Errorf("reading the runfile of the embedded relay: %w", err)
	}
	if pid, ok := askPID(r.Redis); !ok || pid != r.PID {
		return Runfile{}, ErrNotRunning
	}
	return r, nil
}

func runfilePath() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("locating the user's cache directory: %w; set HOME, or set SIDECAST_REDIS_URL", err)
	}
	return filepath.Join(cache, "sidecast", "embedded.json"), nil
}

// decodeRunfile returns an empty Runfile if the content of the file is invalid.
// No relay answers at its empty addresses.
func decodeRunfile(path string) (Runfile, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Runfile{}, err
	}
	var r Runfile
	if json.Unmarshal(content, &r) != nil {
		return Runfile{}, nil
	}
	return r, nil
}

// replaceFile writes a file atomically. Only its owner can read it.
func replaceFile(path string, content []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "embedded-*.json") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	_, err = file.Write(content)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
