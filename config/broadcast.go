package config

import (
	"net/url"
	"path"
	"slices"
	"strings"
)

// relayPaths are the paths below BASE_PATH that the relay serves itself, and
// those without BASE_PATH. A path that begins with one of them and a slash is
// not free either.
var relayPaths = []string{"/ws", "/sse", "/app", "/apps", "/livez", "/readyz"}

// BroadcastPath returns the path of BROADCAST_AUTH_URL, which the relay serves,
// or an empty string.
func (c *Config) BroadcastPath() string {
	u, err := url.Parse(string(c.BroadcastAuthURL))
	if err != nil || u.Path == "" || u.Path == "/" {
		return ""
	}
	return path.Clean(u.EscapedPath())
}

// broadcasts checks that the relay can serve the path of BROADCAST_AUTH_URL.
func (v *validation) broadcasts() {
	const name = "BROADCAST_AUTH_URL"
	if !v.c.set[name] || !v.valid(name, "BASE_PATH") || v.c.BroadcastAuthURL == "" {
		return
	}
	served := Path(v.c.BroadcastPath())
	switch {
	case served == "":
		v.faults.Add(name, "has no path", "write the URL that Laravel Echo calls, like http://localhost/broadcasting/auth")
	case new(Path).Decode(string(served)) != nil:
		v.faults.Add(name, "has a path that is not plain", "write letters, digits and - . _ ~ between single slashes")
	case isRelayPath(served) || isRelayPath(Path(strings.TrimPrefix(string(served), string(v.c.BasePath)))):
		v.faults.Add(name, "has a path that Sidecast uses itself",
			"let the application answer at another path, like /broadcasting/auth")
	}
}

// isRelayPath reports whether the relay serves the path, or everything below a
// path that contains it.
func isRelayPath(p Path) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(string(p), "/"), "/")
	return p == "" || slices.Contains(relayPaths, "/"+first) || isClientFile(string(p))
}

// isClientFile reports whether the path may be a file of the JavaScript client.
func isClientFile(p string) bool {
	return path.Dir(p) == "/" && strings.HasPrefix(p, "/sidecast")
}
