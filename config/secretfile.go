package config

import (
	"errors"
	"io/fs"
	"strings"
)

// maxSecretFile bounds a file that contains a secret, in bytes.
const maxSecretFile = 64 << 10

var errFileSize = errors.New("the file is larger than 64 KiB")

// readSecret returns the content of a file without one trailing line break.
func readSecret(path string) (string, error) {
	b, err := readFile(path, maxSecretFile+1)
	switch {
	case err != nil:
		return "", err
	case len(b) > maxSecretFile:
		return "", errFileSize
	}
	if text, ok := strings.CutSuffix(string(b), "\n"); ok {
		return strings.TrimSuffix(text, "\r"), nil
	}
	return string(b), nil
}

// reason returns the system's reason for an error about a file, without the
// name of the file.
func reason(err error) string {
	if err, ok := errors.AsType[*fs.PathError](err); ok {
		return err.Err.Error()
	}
	return "an input error"
}
