package source

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Mode says what stands at the address of a [Server].
type Mode uint8

// The modes.
const (
	Standalone Mode = iota // one Redis, or whatever behaves like one
	Sentinel               // Sentinels, which know the master
	Cluster                // nodes of a Redis Cluster
)

var modes = [...]string{"standalone", "sentinel", "cluster"}

// String returns standalone, sentinel or cluster.
func (m Mode) String() string { return modes[m] }

// ParseMode reads what String writes.
func ParseMode(name string) (Mode, error) {
	if i := slices.Index(modes[:], name); i >= 0 {
		return Mode(i), nil
	}
	return 0, errors.New("the mode is none of standalone, sentinel and cluster")
}

// Server says where Redis is and how to log in there. Printing one shows the address only.
type Server struct {
	Mode     Mode
	Address  string   // host:port, or the absolute path of a Unix socket; with Sentinel and Cluster the first of several
	More     []string // with Sentinel and Cluster: further addresses, as host:port
	Username string
	Password string
	DB       int         // of no consequence: Redis's pub/sub ignores it
	TLS      *tls.Config // nil: no TLS. Where ServerName is empty it is the host of the address dialled
	Protocol int         // RESP 2 or 3; 0 means 2

	// Credentials, if set, is asked at each dial in place of Username and Password. It may be called concurrently. Its
	// errors must hold nothing secret.
	Credentials func() (username, password string, err error)

	// With Sentinel only.
	MasterName       string // the master's name there
	SentinelUsername string // of the Sentinels, which have users of their own
	SentinelPassword string
}

// Errors of ParseURL. They never quote the URL, which may contain a password in an unexpected place.
var (
	errURLScheme = errors.New("the URL begins with none of redis://, rediss:// (TLS) and unix://; " +
		"write redis://host:6379")
	errURL = errors.New("the URL cannot be read; write redis://user:password@host:6379/0 and percent-encode " +
		"what is special in the user and the password, or give both apart from the URL")
	errURLOption = errors.New("the URL has an option behind its ? that has no meaning here; " +
		"db, protocol and skip_verify have")
	errURLNodes = errors.New("the URL has an option behind its ? that has no meaning here: " +
		"addr and master_name are for the modes sentinel and cluster; set SIDECAST_REDIS_MODE")
	errURLNoMaster = errors.New("the URL has a master_name, which is for Sentinels, and the mode is cluster; " +
		"set SIDECAST_REDIS_MODE=sentinel, or leave it out")
	errURLUnix   = errors.New("a Unix socket leads to one Redis only; write redis://host:port")
	errURLMaster = errors.New("the URL does not name the master; " +
		"write redis://host:26379?master_name=mymaster&addr=host2:26379")
	errURLAddr = errors.New("an addr in the URL is not host:port")
	errURLDB   = errors.New("a cluster has no databases; leave the number out of the URL")
)

// ParseURL reads redis://, rediss:// and unix:// URLs as go-redis does. With Sentinel and Cluster the first node is the
// host, others follow as options addr, and for Sentinel the option master_name is required; user and password are the
// Redis servers', never the Sentinels'. Options that would change how the link works are refused. An error never contains
// a part of the URL.
func ParseURL(raw string, mode Mode) (Server, error) {
	scheme, _, _ := strings.Cut(raw, "://")
	if !slices.Contains([]string{"redis", "rediss", "unix"}, scheme) {
		return Server{}, errURLScheme
	}
	u, err := url.Parse(raw)
	if err != nil {
		return Server{}, errURL
	}
	s := Server{Mode: mode}
	if err := s.takeNodes(u); err != nil {
		return Server{}, err
	}
	if mode != Standalone {
		raw = u.String()
	}
	opt, err := redis.ParseURL(raw)
	if err != nil {
		return Server{}, errURL
	}
	s.Address, s.Username, s.Password = opt.Addr, opt.Username, opt.Password
	s.DB, s.TLS, s.Protocol = opt.DB, opt.TLSConfig, opt.Protocol
	if mode != Standalone && s.TLS != nil {
		s.TLS.ServerName = "" // each node has a name of its own
	}
	if mode == Cluster && s.DB != 0 {
		return Server{}, errURLDB
	}
	return s, s.validate()
}

// takeNodes takes what go-redis's reading of a URL for one Redis does not know out of the URL.
func (s *Server) takeNodes(u *url.URL) error {
	query := u.Query()
	for option := range query {
		switch {
		case slices.Contains([]string{"db", "protocol", "skip_verify"}, option):
		case option != "addr" && option != "master_name":
			return errURLOption
		case s.Mode == Standalone:
			return errURLNodes
		case s.Mode == Cluster && option == "master_name":
			return errURLNoMaster
		}
	}
	if s.Mode == Standalone {
		return nil
	}
	s.More, s.MasterName = query["addr"], query.Get("master_name")
	query.Del("addr")
	query.Del("master_name")
	u.RawQuery = query.Encode()
	if s.Mode == Sentinel && u.Port() == "" && u.Host != "" {
		u.Host += ":26379"
	}
	switch {
	case u.Scheme == "unix":
		return errURLUnix
	case slices.ContainsFunc(s.More, func(addr string) bool { return !isHostPort(addr) }):
		return errURLAddr
	case s.Mode == Sentinel && s.MasterName == "":
		return errURLMaster
	}
	return nil
}

func isHostPort(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	return err == nil && host != "" && port != ""
}

// addresses returns all addresses that are configured.
func (s Server) addresses() []string { return append([]string{s.Address}, s.More...) }

// credentials asks for user and password.
func (s Server) credentials() (username, password string, err error) {
	if username, password, err = s.Credentials(); err != nil {
		return "", "", &credentialsError{err}
	}
	return username, password, nil
}

// credentialsError says that user and password are not known.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "asking for user and password: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// TrustCA makes PEM-encoded certificates the only ones that may have signed the server's. It refuses a server without
// TLS.
func (s *Server) TrustCA(pem []byte) error {
	if s.TLS == nil {
		return errors.New("a CA needs TLS: write the URL with rediss://")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return errors.New("the CA file holds no PEM certificate")
	}
	s.TLS = s.TLS.Clone()
	s.TLS.RootCAs = pool
	return nil
}

func (s Server) validate() error {
	switch {
	case s.Address == "":
		return errors.New("the address of Redis is missing")
	case s.Protocol != 0 && s.Protocol != 2 && s.Protocol != 3:
		return errors.New("the Redis protocol is neither 2 nor 3")
	case int(s.Mode) >= len(modes):
		return fmt.Errorf("there is no mode %d", s.Mode)
	case s.Mode == Sentinel && s.MasterName == "":
		return errURLMaster
	}
	return nil
}
