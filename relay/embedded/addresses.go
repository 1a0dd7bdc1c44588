package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Addresses are where an embedded relay listens: host:port each, that of the relay with the base path behind it.
type Addresses struct {
	Redis string `json:"redis"`
	Relay string `json:"relay"`
	Admin string `json:"admin"`
	PID   int    `json:"pid"` // the process that serves all three
}

// ErrNotRunning says that no embedded relay runs, as far as the user's cache directory knows.
var ErrNotRunning = errors.New("no embedded relay is running: start one with `go run .` or set SIDECAST_REDIS_URL")

// WriteAddresses lets other commands of the same user find this relay, in place of one that may have been there before.
// remove takes the addresses back, unless another relay has written its own since; call it before the process ends.
func WriteAddresses(a Addresses) (remove func(), err error) {
	path, err := addressFile()
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encoding the addresses: %w", err)
	}
	if err := replace(path, content); err != nil {
		return nil, fmt.Errorf("writing the addresses: %w", err)
	}
	return func() {
		// A reader checks what it finds, so that a file which stays behind does no harm.
		if now, err := readFile(path); err == nil && now == a {
			_ = os.Remove(path)
		}
	}, nil
}

// ReadAddresses returns where the embedded relay of this user listens, which was asked and lives: the process that the
// file names is the one that serves the Redis there. Where none does, the error is [ErrNotRunning].
func ReadAddresses() (Addresses, error) {
	path, err := addressFile()
	if err != nil {
		return Addresses{}, err
	}
	a, err := readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Addresses{}, ErrNotRunning
	case err != nil:
		return Addresses{}, fmt.Errorf("reading the addresses of the embedded relay: %w", err)
	}
	if found, ok := pid(a.Redis); !ok || found != a.PID {
		return Addresses{}, ErrNotRunning
	}
	return a, nil
}

func addressFile() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for the cache directory: %w", err)
	}
	return filepath.Join(cache, "sidecast", "embedded.json"), nil
}

func readFile(path string) (Addresses, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Addresses{}, err
	}
	var a Addresses
	if json.Unmarshal(content, &a) != nil {
		return Addresses{}, nil // nobody wrote this, and nobody has these addresses
	}
	return a, nil
}

// replace writes a file in one step, readable by its owner only.
func replace(path string, content []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "embedded-*.json") // 0600
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
