package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"sidecast/relay/syntax"
)

const hintReadable = "write the path of a file that this user can read"

// A CertFile is the path of a PEM file that contains at least one certificate.
type CertFile string

// maxCertFile bounds a file with certificates, in bytes. A system's certificate
// bundle has about a quarter of that.
const maxCertFile = 1 << 20

// Decode reads a path, and reads the file to check that it can be used.
func (c *CertFile) Decode(value string) error {
	value = strings.TrimSpace(value)
	if isPEM(value) {
		return syntax.New("is the certificate itself", "write the path of a file that contains it")
	}
	text, err := readFile(value, maxCertFile)
	switch {
	case err != nil:
		return unreadable(value, err)
	case syntax.HasBOM(string(text)):
		return syntax.New(syntax.Quote(value)+" begins with a byte order mark (BOM)", hintBOM)
	case !x509.NewCertPool().AppendCertsFromPEM(text):
		return syntax.New(syntax.Quote(value)+" contains no certificate", "write the path of a PEM file with BEGIN CERTIFICATE in it")
	}
	*c = CertFile(value)
	return nil
}

// A KeyFile is the path of a PEM file that contains a private key.
type KeyFile string

// Decode reads a path, and reads the file to check that it can be used.
func (k *KeyFile) Decode(value string) error {
	value = strings.TrimSpace(value)
	if isPEM(value) {
		return syntax.New("is the key itself", "write the path of a file that contains it")
	}
	text, err := readSecret(value)
	switch {
	case errors.Is(err, errFileSize):
		return syntax.New(syntax.Quote(value)+" is larger than 64 KiB", "write the path of a file that contains only the key")
	case err != nil:
		return unreadable(value, err)
	case syntax.HasBOM(text):
		return syntax.New(syntax.Quote(value)+" begins with a byte order mark (BOM)", hintBOM)
	}
	if block, _ := pem.Decode([]byte(text)); block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return syntax.New(syntax.Quote(value)+" contains no private key", "write the path of a PEM file with BEGIN PRIVATE KEY in it")
	}
	*k = KeyFile(value)
	return nil
}

// unreadable reports a file that cannot be read. It repeats the path only if
// something is there: otherwise the value may be a key without its BEGIN line.
func unreadable(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return syntax.New("reading "+syntax.Quote(path)+": "+reason(err), hintReadable)
	}
	return syntax.New("names a file that cannot be read: "+reason(err), hintReadable)
}

// isPEM reports whether a value is the content of a PEM file rather than a
// path.
func isPEM(value string) bool { return strings.HasPrefix(value, "-----BEGIN") }

// readFile returns at most the first limit bytes of a file.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
