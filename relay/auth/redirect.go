package auth

import (
	"net/http"
	"net/url"
	"strings"
)

// redirectProblem returns a problem if a response redirects to the URL that was
// requested, with another scheme, host, port or final slash. A web server does
// that whoever the user is, so it does not mean that the user has to log in. It
// returns nil for any other response.
func redirectProblem(response *http.Response) *problem {
	if response.StatusCode < 300 || response.StatusCode > 399 {
		return nil
	}
	from := response.Request.URL
	to, err := response.Location()
	if err != nil || trimSlash(from) != trimSlash(to) || from.RawQuery != to.RawQuery {
		return nil
	}
	return &problem{
		text: "the URL redirects to " + changes(from, to),
		do:   "write the URL to which it redirects: Sidecast does not follow redirects",
	}
}

// changes says in which parts a URL differs from another one with the same path.
func changes(from, to *url.URL) string {
	var list []string
	if to.Scheme != from.Scheme {
		list = append(list, to.Scheme)
	}
	if !strings.EqualFold(to.Hostname(), from.Hostname()) {
		list = append(list, "another host")
	} else if to.Scheme == from.Scheme && to.Port() != from.Port() {
		list = append(list, "another port")
	}
	switch slash := strings.HasSuffix(to.Path, "/"); {
	case trimSlash(to) == "" || slash == strings.HasSuffix(from.Path, "/"):
	case slash:
		list = append(list, "a final slash")
	default:
		list = append(list, "no final slash")
	}
	if len(list) == 0 {
		return "itself"
	}
	return strings.Join(list, " and ")
}

func trimSlash(u *url.URL) string { return strings.TrimSuffix(u.EscapedPath(), "/") }
