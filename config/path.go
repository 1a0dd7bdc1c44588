package config

import (
	"strings"

	"sidecast/relay/syntax"
)

// A Path is empty, or begins with a slash and does not end with one.
type Path string

// Decode reads a path.
func (p *Path) Decode(value string) error {
	value = strings.TrimSpace(value)
	inner, rooted := strings.CutPrefix(value, "/")
	switch {
	case value == "/":
		return syntax.New("is /, which adds no prefix", "unset it")
	case !rooted:
		return syntax.New(syntax.Quote(value)+" does not begin with a slash", "write "+suggestPath(value))
	case strings.HasSuffix(value, "/"):
		return syntax.New(syntax.Quote(value)+" ends with a slash", "write "+suggestPath(value))
	}
	for part := range strings.SplitSeq(inner, "/") {
		if part == "" || part == "." || part == ".." || !syntax.Alphanumeric(part, "-._~") {
			return syntax.New(syntax.Quote(value)+" is not a plain path",
				"write letters, digits and - . _ ~ between single slashes, like /live")
		}
	}
	*p = Path(value)
	return nil
}

// suggestPath returns the path that was probably intended, or an example.
func suggestPath(value string) string {
	if trimmed := strings.Trim(value, "/"); trimmed != "" && !strings.ContainsAny(trimmed, ": ") {
		return "/" + trimmed
	}
	return "a path like /live"
}
