package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sidecast/config"
	"sidecast/relay/app"
	"sidecast/relay/embedded"
)

const (
	// askTimeout bounds how long a relay may take for one answer.
	askTimeout = 12 * time.Second
	// maxAnswer bounds the answer of a relay, in bytes.
	maxAnswer = 1 << 20
)

const (
	// relayUsage describes the option --relay.
	relayUsage = "the admin listener of a relay, a `URL` like http://10.0.0.7:9190; may be repeated; default: this machine"
	// relayHint is for relays that do not answer.
	relayHint = "name the admin listener of each relay, like --relay http://10.0.0.7:9190"
)

// A relayRefusal is the answer of a relay that does not do what it is asked.
type relayRefusal struct {
	status int
	text   string
}

func (r relayRefusal) Error() string { return r.text }

// relayAdvice returns what the user can do if a relay was asked in vain. The
// text of a refusal says that itself, except how this command sends a token.
func relayAdvice(err error) string {
	refusal, refused := errors.AsType[relayRefusal](err)
	switch {
	case !refused, refusal.status < http.StatusBadRequest: // a redirect is not of a relay
		return relayHint
	case refusal.status == http.StatusUnauthorized:
		return "set SIDECAST_ADMIN_TOKEN for this command, too, to the value of the relay"
	}
	return ""
}

// An adminRelay is the admin listener of one relay, of which commands ask what
// only the relay knows.
type adminRelay struct {
	base  string // such as http://10.0.0.7:9190
	token config.Secret
}

// adminRelays returns the relays at these URLs, or without any the relay on this
// machine. It needs few settings: the relay's own ones are in force.
func adminRelays(urls []string) ([]adminRelay, error) {
	cfg, err := config.LoadOnly("EMBEDDED", "ADMIN_LISTEN", "ADMIN_TOKEN")
	if err != nil {
		return nil, err
	}
	if len(urls) == 0 {
		addr := string(cfg.AdminListen)
		if cfg.IsEmbedded() {
			running, err := embedded.ReadRunfile()
			switch {
			case err == nil:
				addr = running.Admin // another port than in the setting, if that was taken
			case !cfg.IsSet("ADMIN_LISTEN"):
				return nil, err
			}
		}
		urls = []string{"http://" + app.Reachable(addr)}
	}
	var relays []adminRelay
	for _, text := range urls {
		base, err := adminURL(text)
		if err != nil {
			return nil, err
		}
		relays = append(relays, adminRelay{base: base, token: cfg.AdminToken})
	}
	return relays, nil
}

// adminURL checks the address of an admin listener. Credentials in it would be
// shown.
func adminURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", usageError("--relay: write it like http://10.0.0.7:9190; the token is in SIDECAST_ADMIN_TOKEN")
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

// get sends a request to a path of the relay. The caller closes the body. An
// answer other than 200 is an error.
func (r adminRelay) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking the relay: %w", err)
	}
	if token := r.token.Reveal(); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{
		Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this host
	}
	response, err := client.Do(request)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		return nil, fmt.Errorf("the relay at %s does not answer: %w", r.base, err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	reason, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if response.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("the server at %s answers %s: is this the admin listener of a relay of this version?", r.base, response.Status)
	}
	return nil, relayRefusal{response.StatusCode, fmt.Sprintf("the relay at %s answers %s: %s", r.base, response.Status, reason)}
}

// ask returns the whole answer to a request.
func (r adminRelay) ask(ctx context.Context, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	response, err := r.get(ctx, path, query)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer of the relay at %s breaks off: %w", r.base, err)
	}
	return body, nil
}

// A stringList is an option that may be repeated.
type stringList []string

func (l *stringList) String() string { return strings.Join(*l, ",") }

func (l *stringList) Set(value string) error {
	*l = append(*l, value)
	return nil
}
