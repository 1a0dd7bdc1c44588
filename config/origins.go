package config

import (
	"net/netip"
	"net/url"
	"strings"
)

// An OriginList holds origins as browsers send them: `scheme://host[:port]` in lower case and without a scheme's own
// port; or `https://*.example.com` for every name below example.com; or `*` alone for all pages.
type OriginList []string

// Decode reads a list of origins and writes each as browsers do.
func (o *OriginList) Decode(value string) error {
	var items List
	if err := items.Decode(value); err != nil {
		return err
	}
	origins := make(OriginList, 0, len(items))
	for _, item := range items {
		if item == "*" {
			if len(items) > 1 {
				return &syntaxError{"has * beside other origins", "write * alone for all pages, or only the others"}
			}
			*o = OriginList{"*"}
			return nil
		}
		origin, err := parseOrigin(item)
		if err != nil {
			return err
		}
		origins = append(origins, origin)
	}
	*o = origins
	return nil
}

// String writes the list as it is read.
func (o OriginList) String() string { return strings.Join(o, ",") }

// ownPorts are left out of an origin by browsers.
var ownPorts = map[string]string{"http": "80", "https": "443"}

const writeOrigin = "write an origin like https://app.example.com"

func parseOrigin(item string) (string, error) {
	if item == "null" {
		return "", &syntaxError{`"null" is sent by pages of anyone`, "leave it out"}
	}
	if strings.Contains(item, "@") { // what stands before it may be a password
		return "", &syntaxError{"has an origin with a user in it", writeOrigin}
	}
	if !strings.Contains(item, "://") {
		host, _, _ := strings.Cut(strings.TrimPrefix(item, "//"), "/")
		return "", &syntaxError{echo(item) + " has no scheme", "write https://" + host}
	}
	u, err := url.Parse(item)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || strings.HasSuffix(u.Host, ":"):
		return "", &syntaxError{echo(item) + " is not an origin", writeOrigin}
	case u.Scheme == "ws" || u.Scheme == "wss":
		return "", &syntaxError{echo(item) + " is the address of a socket, not of a page",
			"write " + strings.Replace(u.Scheme, "ws", "http", 1) + "://" + u.Host}
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(item, "#"):
		return "", &syntaxError{echo(item) + " is more than an origin", "write " + u.Scheme + "://" + u.Host}
	case u.Port() != "" && !validPort(u.Port()):
		return "", &syntaxError{echo(item) + " has a port that is not 1 to 65535", writeOrigin}
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r > '~' }):
		return "", &syntaxError{echo(item) + " has letters beyond ASCII", "write the host as browsers send it, xn--..."}
	case strings.Contains(u.Host, "*"):
		if err := checkWildcard(item, u); err != nil {
			return "", err
		}
	}
	host := strings.ToLower(u.Host)
	if own, ok := ownPorts[u.Scheme]; ok && u.Port() == own {
		host = strings.TrimSuffix(host, ":"+own)
	}
	return u.Scheme + "://" + host, nil
}

// checkWildcard takes `https://*.example.com` and nothing wider.
func checkWildcard(item string, u *url.URL) error {
	parent, ok := strings.CutPrefix(u.Host, "*.")
	switch {
	case u.Scheme != "https" || u.Port() != "":
		return &syntaxError{echo(item) + " has a wildcard that is not plain https", "write https://*.example.com"}
	case !ok || strings.Contains(parent, "*"):
		return &syntaxError{echo(item) + " has its wildcard elsewhere than as the first part", "write https://*.example.com"}
	case !strings.Contains(strings.Trim(parent, "."), "."):
		return &syntaxError{echo(item) + " covers a whole top-level domain", "write https://*.example.com"}
	}
	return nil
}

// A NetworkList holds CIDR ranges; a single address is a range of one.
type NetworkList []netip.Prefix

// Decode reads addresses and ranges.
func (l *NetworkList) Decode(value string) error {
	var items List
	if err := items.Decode(value); err != nil {
		return err
	}
	networks := make(NetworkList, 0, len(items))
	for _, item := range items {
		network, err := parseNetwork(item)
		if err != nil {
			return err
		}
		networks = append(networks, network)
	}
	*l = networks
	return nil
}

func parseNetwork(item string) (netip.Prefix, error) {
	if !strings.Contains(item, "/") {
		address, err := netip.ParseAddr(item)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, notNetwork(item)
		}
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(item)
	switch {
	case err != nil || network.Addr().Is4In6():
		return netip.Prefix{}, notNetwork(item)
	case network != network.Masked():
		return netip.Prefix{}, &syntaxError{echo(item) + " has an address inside the range where its first belongs",
			"write " + network.Masked().String() + " for the range or " + network.Addr().String() + " for the address"}
	}
	return network, nil
}

func notNetwork(item string) error {
	return &syntaxError{echo(item) + " is neither an address nor a CIDR range", "write like 10.0.0.5 or 10.0.0.0/8"}
}

// String writes the list as it is read.
func (l NetworkList) String() string {
	items := make([]string, len(l))
	for i, network := range l {
		items[i] = network.String()
		if network.IsSingleIP() {
			items[i] = network.Addr().String()
		}
	}
	return strings.Join(items, ",")
}

// Contains reports whether the address, or the IPv4 address in it, is in one of the ranges.
func (l NetworkList) Contains(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	for _, network := range l {
		if network.Contains(address) {
			return true
		}
	}
	return false
}
