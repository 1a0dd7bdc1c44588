package origin

import (
	"net/url"
	"slices"
	"strings"

	"sidecast/relay/syntax"
)

// A List is a set of origins that are allowed. Its items are
// `scheme://host[:port]` for one origin, `https://*.example.com` for every name
// below example.com, `null` and `file://` for pages without an origin, and `*`
// alone for every page. The zero List is empty. A List is immutable and safe for
// concurrent use.
type List struct {
	items  []string // in normal form
	exact  map[Origin]bool
	scopes []string // of wildcards: the host's suffix, such as .example.com
	any    bool
}

// ParseList reads the items of a list. Errors are [syntax.Error] and never
// repeat an item that may contain a password.
func ParseList(items []string) (List, error) {
	l := List{exact: make(map[Origin]bool)}
	for _, item := range items {
		if item == "*" {
			if len(items) > 1 {
				return List{}, syntax.New("has * together with other origins", "write * alone to allow every page, or remove it")
			}
			return List{items: []string{"*"}, any: true}, nil
		}
		if text := strings.ToLower(item); Opaque(text) {
			l.items = append(l.items, text)
			continue
		}
		o, err := parseItem(item)
		if err != nil {
			return List{}, err
		}
		if suffix, ok := strings.CutPrefix(o.Host, "*"); ok {
			l.scopes = append(l.scopes, suffix)
		} else {
			l.exact[o] = true
		}
		l.items = append(l.items, o.String())
	}
	return l, nil
}

// Items returns the items in normal form: in lower case, without a scheme's
// default port. ParseList reads them as an equal list. The caller must not
// change them.
func (l List) Items() []string { return l.items }

// Empty reports whether the list has no items.
func (l List) Empty() bool { return len(l.items) == 0 }

// Any reports whether the list is `*`, which allows even pages that have no
// origin.
func (l List) Any() bool { return l.any }

// Allows reports whether the list allows pages that send this text as their
// origin.
func (l List) Allows(text string) bool {
	if l.any || Opaque(text) {
		return l.any || slices.Contains(l.items, text)
	}
	o, ok := Parse(text)
	return ok && l.Contains(o)
}

// Contains reports whether the list allows an origin.
func (l List) Contains(o Origin) bool {
	if l.any || l.exact[o] {
		return true
	}
	if o.Scheme != "https" || o.Port != "" {
		return false
	}
	for _, suffix := range l.scopes {
		if strings.HasSuffix(o.Host, suffix) && len(o.Host) > len(suffix) {
			return true
		}
	}
	return false
}

const (
	hintOrigin   = "write an origin like https://app.example.com"
	hintWildcard = "write https://*.example.com"
)

// parseItem reads one item other than `*`.
func parseItem(item string) (Origin, error) {
	switch {
	case strings.HasPrefix(item, "file:"):
		return Origin{}, syntax.New(syntax.Quote(item)+" is more than an origin", "write file://")
	case strings.Contains(item, "@"): // the text before it may be a password
		return Origin{}, syntax.New("has an origin with a user name in it", hintOrigin)
	case !strings.Contains(item, "://"):
		host, _, _ := strings.Cut(strings.TrimPrefix(item, "//"), "/")
		return Origin{}, syntax.New(syntax.Quote(item)+" has no scheme", "write https://"+host)
	}
	u, err := url.Parse(item)
	if err != nil || u.Hostname() == "" || strings.HasSuffix(u.Host, ":") || strings.Contains(u.Host, "%") {
		return Origin{}, syntax.New(syntax.Quote(item)+" is not an origin", hintOrigin)
	}
	if err := checkParts(item, u); err != nil {
		return Origin{}, err
	}
	return fromURL(u), nil
}

// checkParts rejects a URL that no browser sends as an origin.
func checkParts(item string, u *url.URL) error {
	switch {
	case u.Scheme == "ws" || u.Scheme == "wss":
		return syntax.New(syntax.Quote(item)+" is the address of a WebSocket, not the origin of a page",
			"write "+strings.Replace(u.Scheme, "ws", "http", 1)+"://"+u.Host)
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(item, "#"):
		return syntax.New(syntax.Quote(item)+" is more than an origin", "write "+u.Scheme+"://"+u.Host)
	case u.Port() != "" && !syntax.ValidPort(u.Port()):
		return syntax.New(syntax.Quote(item)+" has a port that is not 1 to 65535", hintOrigin)
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r > '~' }):
		return syntax.New(syntax.Quote(item)+" has characters that are not ASCII", "write the host as browsers send it, xn--...")
	case strings.Contains(u.Host, "*"):
		return checkWildcard(item, u)
	}
	return nil
}

// checkWildcard accepts `https://*.example.com` and no wider form.
func checkWildcard(item string, u *url.URL) error {
	parent, ok := strings.CutPrefix(u.Host, "*.")
	switch {
	case u.Scheme != "https" || u.Port() != "":
		return syntax.New(syntax.Quote(item)+" has a wildcard, which needs https and no port", hintWildcard)
	case !ok || strings.Contains(parent, "*"):
		return syntax.New(syntax.Quote(item)+" has a wildcard that is not the first part of the host", hintWildcard)
	case !strings.Contains(strings.Trim(parent, "."), "."):
		return syntax.New(syntax.Quote(item)+" allows a whole top-level domain", hintWildcard)
	}
	return nil
}
