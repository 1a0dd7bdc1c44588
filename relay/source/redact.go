package source

import (
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// argumentsEcho is how Redis begins to repeat the arguments of a command that it
// does not know.
const argumentsEcho = "with args beginning with:"

const redacted = "[redacted]"

// A shownError is an error whose text does not repeat the arguments of a
// command, which may be the payload of a message.
type shownError struct{ err error }

func (e *shownError) Error() string { return withoutArguments(e.err.Error()) }
func (e *shownError) Unwrap() error { return e.err }

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
// without answers of the server that may repeat a password. Only answers of a
// server can contain one. An answer is hidden as a whole: replacing the letters
// of the password wherever they occur would show what they are.
func (s Server) Redact(err error) string {
	text := withoutArguments(err.Error())
	passwords := s.passwords()
	for _, reply := range repliesIn(err) {
		reply = withoutArguments(reply)
		contains := func(password string) bool { return password != "" && strings.Contains(reply, password) }
		if !isUsualReply(reply) && slices.ContainsFunc(passwords, contains) {
			text = strings.ReplaceAll(text, reply, "an answer that may contain the password: "+redacted)
		}
	}
	return text
}

// passwords returns the passwords in use.
func (s Server) passwords() []string {
	passwords := []string{s.Password, s.SentinelPassword}
	if s.Credentials != nil {
		if _, current, err := s.Credentials(); err == nil {
			passwords = append(passwords, current)
		}
	}
	return passwords
}

// usualReplies are answers to a login that contain words which may also be
// passwords.
var usualReplies = []string{
	"WRONGPASS invalid username-password pair or user is disabled.",
	"ERR invalid password",
	"ERR invalid username-password pair or user is disabled.",
	"NOAUTH Authentication required.",
	"ERR Client sent AUTH, but no password is set",
	"ERR AUTH <password> called without any password configured for the default user. " +
		"Are you sure your configuration is correct?",
	"ERR max number of clients reached",
	"ERR This instance has cluster support disabled",
	"ERR DB index is out of range",
}

// isUsualReply reports whether an answer is one of those of Redis that repeat no
// arguments, or only names.
func isUsualReply(reply string) bool {
	_, isCondition := conditionOf(reply)
	return isCondition || isDenied(reply) || slices.Contains(usualReplies, reply) ||
		strings.HasPrefix(reply, "NOAUTH HELLO must be called with the client already authenticated, ") ||
		strings.HasPrefix(reply, "DENIED Redis is running in protected mode ") || strings.HasPrefix(reply, "MOVED ")
}

// repliesIn returns all answers of servers in an error.
func repliesIn(err error) []string {
	switch e := err.(type) {
	case *deniedError:
		return []string{e.reply}
	case *replyError:
		return []string{e.reply}
	case interface{ Unwrap() []error }:
		var replies []string
		for _, part := range e.Unwrap() {
			replies = append(replies, repliesIn(part)...)
		}
		return replies
	case redis.Error:
		return []string{e.Error()}
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return repliesIn(inner)
		}
	}
	return nil
}
