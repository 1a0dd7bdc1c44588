package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
)

// An Address is what a listener takes: host:port, where the host may be empty for all addresses, and port 0 is any free
// one.
type Address string

// Decode reads an address.
func (a *Address) Decode(value string) error {
	value = strings.TrimSpace(value)
	if n, err := strconv.ParseUint(value, 10, 16); err == nil {
		return &syntaxError{echo(value) + " is a port alone", "write :" + strconv.FormatUint(n, 10)}
	}
	if strings.Contains(value, "://") || strings.Contains(value, "/") {
		return &syntaxError{echo(value) + " is not an address", "write host:port or :port, without a scheme or a path"}
	}
	_, port, err := net.SplitHostPort(value)
	if err != nil {
		return &syntaxError{echo(value) + " is not an address", "write host:port or :port, and [::1]:port for IPv6"}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return &syntaxError{echo(value) + " has a port that is not 0 to 65535", "write host:port or :port"}
	}
	*a = Address(value)
	return nil
}

// clash reports whether a and b cannot both be listened on.
func (a Address) clash(b Address) bool {
	hostA, portA, _ := net.SplitHostPort(string(a))
	hostB, portB, _ := net.SplitHostPort(string(b))
	everywhere := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return portA == portB && strings.Trim(portA, "0") != "" &&
		(strings.EqualFold(hostA, hostB) || everywhere(hostA) || everywhere(hostB))
}

// A Path is empty, or begins with a slash and does not end with one.
type Path string

// Decode reads a path.
func (p *Path) Decode(value string) error {
	value = strings.TrimSpace(value)
	inner, rooted := strings.CutPrefix(value, "/")
	switch {
	case value == "/":
		return &syntaxError{"is the root", "unset it; no path is the default"}
	case !rooted:
		return &syntaxError{echo(value) + " does not begin with a slash", "write " + suggestPath(value)}
	case strings.HasSuffix(value, "/"):
		return &syntaxError{echo(value) + " ends with a slash", "write " + suggestPath(value)}
	}
	for part := range strings.SplitSeq(inner, "/") {
		if part == "" || part == "." || part == ".." || !plain(part, "-._~") {
			return &syntaxError{echo(value) + " is not a plain path",
				"write letters, digits and - . _ ~ between single slashes, like /live"}
		}
	}
	*p = Path(value)
	return nil
}

func suggestPath(value string) string {
	if trimmed := strings.Trim(value, "/"); trimmed != "" && !strings.ContainsAny(trimmed, ": ") {
		return "/" + trimmed
	}
	return "a path like /live"
}

// A CertFile is the path of a PEM file with at least one certificate.
type CertFile string

// maxCertFile bounds a file with certificates, in bytes. Whole systems' bundles have a quarter of that.
const maxCertFile = 1 << 20

// Decode reads a path, and the file to see that it can be used.
func (c *CertFile) Decode(value string) error {
	value = strings.TrimSpace(value)
	if strings.HasPrefix(value, "-----BEGIN") {
		return &syntaxError{"is a certificate itself", "write the path of a file that holds it"}
	}
	f, err := os.Open(value)
	if err != nil {
		return &syntaxError{"reading " + echo(value) + ": " + reason(err), "name a file that this user can read"}
	}
	defer f.Close()
	pem, err := io.ReadAll(io.LimitReader(f, maxCertFile))
	if err != nil {
		return &syntaxError{"reading " + echo(value) + ": " + reason(err), "name a file that this user can read"}
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return &syntaxError{echo(value) + " holds no certificate", "name a PEM file with BEGIN CERTIFICATE in it"}
	}
	*c = CertFile(value)
	return nil
}

// A KeyFile is the path of a PEM file with a private key.
type KeyFile string

// Decode reads a path, and the file to see that it can be used.
func (k *KeyFile) Decode(value string) error {
	value = strings.TrimSpace(value)
	if strings.HasPrefix(value, "-----BEGIN") {
		return &syntaxError{"is a key itself", "write the path of a file that holds it"}
	}
	text, err := readSecret(value)
	switch {
	case errors.Is(err, errFileSize):
		return &syntaxError{echo(value) + " is larger than 64 KiB", "name a file with the key alone"}
	case err != nil:
		return &syntaxError{"reading " + echo(value) + ": " + reason(err), "name a file that this user can read"}
	}
	if block, _ := pem.Decode([]byte(text)); block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return &syntaxError{echo(value) + " holds no key", "name a PEM file with BEGIN PRIVATE KEY in it"}
	}
	*k = KeyFile(value)
	return nil
}

// A Level is the least severe level to log. It is a [slog.Leveler].
type Level slog.Level

// Decode reads a level as slog does.
func (l *Level) Decode(value string) error {
	return (*slog.Level)(l).UnmarshalText([]byte(strings.TrimSpace(value)))
}

// Level makes it a [slog.Leveler].
func (l Level) Level() slog.Level { return slog.Level(l) }

// String writes the level as it is read, in lower case.
func (l Level) String() string { return strings.ToLower(slog.Level(l).String()) }

// MarshalText returns what String returns.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// A LogFormat is how a log line is written.
type LogFormat string

// The formats. AutoFormat leaves it to Sidecast: text on a terminal, else JSON.
const (
	AutoFormat LogFormat = "auto"
	TextFormat LogFormat = "text"
	JSONFormat LogFormat = "json"
)

// Decode reads a format; which ones there are is said where it is used.
func (l *LogFormat) Decode(value string) error {
	*l = LogFormat(strings.ToLower(strings.TrimSpace(value)))
	return nil
}
