package redisurl

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sidecast/relay/syntax"
)

const (
	hintForm    = "write redis://host:6379, rediss://host:6379 for TLS, or unix:///path"
	hintEncode  = "percent-encode / ? # @ and % in the password, or set it as SIDECAST_REDIS_PASSWORD"
	hintOptions = "remove it; the options are db and protocol, skip_verify for rediss://, " +
		"addr and master_name for Sentinels, and addr for a cluster"
	hintSentinel = "write redis://sentinel-1:26379?addr=sentinel-2:26379&master_name=mymaster"
	hintCluster  = "write redis://node-1:6379?addr=node-2:6379"
)

// Parse reads a URL of any mode. Errors are [syntax.Error].
func Parse(text string) (*URL, error) {
	scheme, _, ok := strings.Cut(text, "://")
	if !ok {
		return nil, withoutScheme(text)
	}
	u, err := url.Parse(text)
	if err != nil { // err repeats the URL
		return nil, syntax.New("is not a URL", hintForm+"; "+hintEncode)
	}
	switch scheme {
	case "redis", "rediss":
		err = checkTCP(u)
	case "unix":
		err = checkUnix(u)
	case "tls", "valkeys":
		err = syntax.New("has an unknown scheme", "write rediss:// for TLS")
	default:
		err = unknownScheme(scheme)
	}
	if err != nil {
		return nil, err
	}
	parsed := &URL{TLS: scheme == "rediss", user: u.User, shown: show(u)}
	if scheme == "unix" {
		parsed.Socket = u.Path
	} else {
		parsed.Host, parsed.Port = u.Hostname(), u.Port()
		parsed.DB, _ = strconv.Atoi(strings.TrimPrefix(u.Path, "/")) // checkTCP accepts only a number or nothing
	}
	if err := parsed.readOptions(u.Query()); err != nil {
		return nil, err
	}
	return parsed, nil
}

// withoutScheme repeats a text that can only be a host and a port, so that the
// hint can be copied.
func withoutScheme(text string) error {
	host, port, _ := strings.Cut(text, ":")
	if host != "" && syntax.Alphanumeric(host, ".-_") && syntax.ValidPort(port) {
		return syntax.New("has no scheme", "write redis://"+host+":"+port)
	}
	return syntax.New("has no scheme", hintForm)
}

// unknownScheme says so if only the case of a scheme is wrong.
func unknownScheme(scheme string) error {
	switch lower := strings.ToLower(scheme); lower {
	case "redis", "rediss", "unix":
		return syntax.New("has a scheme that is not in lower case", "write "+lower+"://")
	}
	return syntax.New("has an unknown scheme", hintForm)
}

func checkTCP(u *url.URL) error {
	database := strings.TrimPrefix(u.Path, "/")
	_, notIP := netip.ParseAddr(u.Hostname())
	_, notNumber := strconv.ParseUint(database, 10, 31)
	switch {
	case u.Hostname() == "":
		// Falling back to localhost would hide an empty shell variable.
		return syntax.New("has no host", hintForm)
	case notIP != nil && !syntax.Alphanumeric(u.Hostname(), ".-_"):
		return syntax.New("has several hosts, or a host with a character that host names cannot have", hintForm+"; "+hintEncode)
	case u.Port() != "" && !syntax.ValidPort(u.Port()):
		return syntax.New("has a port that is not 1 to 65535", hintForm)
	case u.Fragment != "" || database != "" && notNumber != nil || misplaced(u):
		return syntax.New("has something other than a database number after the host", hintEncode)
	}
	return nil
}

func checkUnix(u *url.URL) error {
	switch {
	case u.Host != "":
		return syntax.New("has a host before the path", "write unix:///path with three slashes")
	case strings.TrimSpace(u.Path) == "" || u.Path == "/":
		return syntax.New("has no path", "write unix:///path")
	case u.Fragment != "" || misplaced(u):
		return syntax.New("has a # or an @ in the path or after it", hintEncode)
	}
	return nil
}

// misplaced reports whether there is an @ after the host, which means that the
// text before it was intended as a password.
func misplaced(u *url.URL) bool {
	return strings.Contains(u.Path, "@") || strings.Contains(u.RawQuery, "@")
}

// readOptions reads the query. If an option other than addr is repeated, the
// last one counts, and an empty one counts as missing; of several master_names
// the first one counts.
func (u *URL) readOptions(query url.Values) error {
	for name := range query {
		if !slices.Contains(shownOptions, name) || name == "skip_verify" && !u.TLS {
			return syntax.New("has an option that is not supported", hintOptions)
		}
	}
	last := func(name string) string {
		values := query[name]
		if len(values) == 0 {
			return ""
		}
		return values[len(values)-1]
	}
	var err error
	if text := last("db"); text != "" {
		if u.DB, err = strconv.Atoi(text); err != nil {
			return syntax.New("has a db option that is not a number", "write a database number; "+hintEncode)
		}
	}
	if text := last("protocol"); text != "" {
		if u.Protocol, err = strconv.Atoi(text); err != nil || u.Protocol != 0 && u.Protocol != 2 && u.Protocol != 3 {
			return syntax.New("has a protocol option that is neither 2 nor 3", "write 2 or 3, or remove it")
		}
	}
	switch last("skip_verify") {
	case "true", "1":
		u.SkipVerify = true
	case "false", "0", "":
	default:
		return syntax.New("has a skip_verify option that is neither true nor false", "write true or false, or remove it")
	}
	u.Nodes, u.MasterName, u.hasMaster = query["addr"], query.Get("master_name"), query.Has("master_name")
	return nil
}

// Check reports a URL that cannot be used in a mode. Errors are [syntax.Error].
func (u *URL) Check(mode Mode) error {
	notHostPort := func(addr string) bool {
		host, port, err := net.SplitHostPort(addr)
		return err != nil || host == "" || port == ""
	}
	switch {
	case mode == Standalone && (len(u.Nodes) > 0 || u.hasMaster):
		return syntax.New("has an addr or a master_name, which only the modes sentinel and cluster use",
			"set SIDECAST_REDIS_MODE, or remove them")
	case mode == Standalone:
		return nil
	case mode == Cluster && u.hasMaster:
		return syntax.New("has a master_name, which only Sentinels use, and the mode is cluster",
			"set SIDECAST_REDIS_MODE=sentinel, or remove the master_name")
	case u.Socket != "":
		return syntax.New("is a Unix socket, which leads to a single Redis", hintFor(mode))
	case slices.ContainsFunc(u.Nodes, notHostPort):
		return syntax.New("has an addr that is not host:port", hintFor(mode))
	case mode == Sentinel && u.MasterName == "":
		return syntax.New("has no master_name", hintFor(mode))
	case mode == Cluster && u.DB != 0:
		return syntax.New("has a database number, and a cluster has only database 0", "remove it")
	}
	return nil
}

// hintFor returns the form of a URL for a mode with several nodes.
func hintFor(mode Mode) string {
	if mode == Cluster {
		return hintCluster
	}
	return hintSentinel
}
