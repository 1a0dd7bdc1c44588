package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/source/resp"
	"sidecast/relay/stream"
)

// argumentsEcho is how Redis begins to repeat the arguments of a command that it
// does not know.
const argumentsEcho = "with args beginning with:"

const (
	redacted    = "[redacted]"
	hiddenReply = "an answer that may contain the password: " + redacted
	hiddenError = "an error that may contain the password: " + redacted
)

// A shownError is an error whose text is that of [Server.Redact]. The arguments
// of a command may also be the payload of a message.
type shownError struct {
	server Server
	err    error
}

func (e *shownError) Error() string { return e.server.Redact(e.err) }
func (e *shownError) Unwrap() error { return e.err }

// shown wraps an error so that its text contains no secret.
func (s Server) shown(err error) error { return &shownError{s, err} }

// withoutArguments removes the arguments of commands that a server repeats, up
// to the end of the line.
func withoutArguments(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if before, _, found := strings.Cut(line, argumentsEcho); found {
			lines[i] = before + argumentsEcho + " " + redacted
		}
	}
	return strings.Join(lines, "\n")
}

// Redact returns the text of an error without the arguments of commands, and
// without a password that a server repeats. An answer that contains one is
// hidden as a whole: replacing the letters of the password wherever they occur
// would show what they are. If the password occurs elsewhere, as in go-redis's
// errors about an answer that it cannot read, the whole text is hidden.
func (s Server) Redact(err error) string {
	text := withoutArguments(err.Error())
	passwords := s.passwords()
	replies, harmless := partsOf(err)
	for _, reply := range replies {
		reply = withoutArguments(reply)
		if isUsualReply(reply, s.Username, passwords) {
			harmless = append(harmless, reply)
		} else if passwords.in(reply) {
			text = strings.ReplaceAll(text, reply, hiddenReply)
		}
	}
	rest := text
	for _, part := range append(harmless, hiddenReply, hiddenError) {
		if part != "" {
			rest = strings.ReplaceAll(rest, part, "\n")
		}
	}
	if passwords.in(rest) {
		return hiddenError
	}
	return text
}

// A passwordList contains passwords in use.
type passwordList []string

func (s Server) passwords() passwordList {
	passwords := passwordList{s.Password, s.SentinelPassword}
	if s.Credentials != nil {
		if _, current, err := s.Credentials(); err == nil {
			passwords = append(passwords, current)
		}
	}
	return slices.DeleteFunc(passwords, func(password string) bool { return password == "" })
}

// in reports whether a text contains one of the passwords, as it is or quoted,
// or the beginning of one where the text was cut off.
func (p passwordList) in(text string) bool {
	return slices.ContainsFunc(p, func(password string) bool {
		quoted := strings.Trim(strconv.Quote(password), `"`)
		return strings.Contains(text, password) || strings.Contains(text, quoted) ||
			containsStart(withoutBackslashes(text), withoutBackslashes(quoted))
	})
}

// withoutBackslashes makes texts comparable that were quoted in different ways,
// or twice.
func withoutBackslashes(text string) string { return strings.ReplaceAll(text, `\`, "") }

// shortestStart is the length of the beginning of a password that counts as one.
const shortestStart = 3

// containsStart reports whether text contains the password, or whether a line or
// a quotation in it ends with its beginning: go-redis quotes 100 characters of an
// answer.
func containsStart(text, password string) bool {
	if password == "" {
		return false
	}
	if strings.Contains(text, password) {
		return true
	}
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '"' || r == '\n' }) {
		for n := shortestStart; n < len(password); n++ {
			if strings.HasSuffix(part, password[:n]) {
				return true
			}
		}
	}
	return false
}

// partsOf returns the answers of servers in an error, and the texts in it that
// were not made from an answer, so that words in them are no passwords.
func partsOf(err error) (replies, harmless []string) {
	switch e := err.(type) {
	case *deniedError:
		return []string{e.reply}, nil
	case *replyError:
		return []string{e.reply}, nil
	case *net.OpError, *net.DNSError, *net.AddrError, syscall.Errno, *os.PathError, *tlsError,
		*tls.CertificateVerificationError, tls.RecordHeaderError, tls.AlertError,
		x509.UnknownAuthorityError, x509.HostnameError, x509.CertificateInvalidError,
		*credentialsError, *certificateError:
		return nil, []string{err.Error()}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			r, h := partsOf(inner)
			replies, harmless = append(replies, r...), append(harmless, h...)
		}
		return replies, harmless
	case redis.Error:
		reply := e.Error()
		if c, ok := conditionOf(reply); ok {
			harmless = []string{c.problem, c.do} // streamError adds them
		}
		return []string{reply}, harmless
	case interface{ Unwrap() error }:
		inner := e.Unwrap()
		if inner == nil {
			return nil, nil
		}
		replies, harmless = partsOf(inner)
		return replies, append(harmless, wordsAround(err, inner)...)
	}
	if slices.Contains(constantErrors, err) {
		return nil, []string{err.Error()}
	}
	return nil, nil
}

// wordsAround returns the words that an error of this package adds to the one
// that it wraps.
func wordsAround(err, inner error) []string {
	switch err.(type) {
	case *sentinelError, *announcedError, *lossError:
		before, after, _ := strings.Cut(err.Error(), inner.Error())
		return []string{before, after}
	}
	return nil
}

// constantErrors always have the same text.
var constantErrors = []error{
	ErrUnavailable, ErrRefused, ErrReserved, stream.ErrNoStream, resp.ErrMalformed,
	errBackoff, errBusChanged, errBusUnsupported, errEpochEnded, errLinkMoved, errMarkerLost, errMasterChanged, errNoEpoch,
	errNoMaster, errNoRouter, errNodeUnsupported, errPanic, errReplica, errRoleUnsupported, errSentinelRole, errSilence,
	errSlotMoved, errStreamReply, errUnconfirmed,
	context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded,
	redis.Nil, redis.ErrClosed, redis.ErrPoolTimeout,
}
