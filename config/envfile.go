package config

import (
	"reflect"
	"regexp"
	"strings"

	"sidecast/relay/syntax"
)

// Some programs that read a file of variables, such as docker run --env-file,
// keep everything after the equals sign: quotes, comments, and the byte order
// mark of an editor. No setting has a value with these, except secrets.

const (
	problemBOM   = "begins with a byte order mark (BOM), which is part of the value"
	hintBOM      = "save the file as UTF-8 without BOM"
	problemQuote = "has quotes, which are part of the value"
	hintQuote    = "remove the quotes: docker run --env-file, for example, keeps them"
	problemNote  = "has a comment, which is part of the value"
	hintNote     = "write the comment on a line of its own: docker run --env-file, for example, keeps it"
	hintHash     = hintNote + `; if the # belongs to the pattern, write \#`
)

var (
	// comment matches a comment after a value, or instead of one.
	comment = regexp.MustCompile(`(^|\s)#\s|\s#`)

	// commentInText matches only a comment with a blank after the #. It is for
	// names and other free text, in which a # cannot be escaped: a channel may
	// have the name "room #5".
	commentInText = regexp.MustCompile(`(^|\s)#\s`)
)

// comments returns what matches a comment in an item of this setting, and what
// to do about one.
func (s setting) comments() (match *regexp.Regexp, hint string) {
	switch s.field.Type {
	case reflect.TypeFor[List](), reflect.TypeFor[string]():
		return commentInText, hintNote
	case reflect.TypeFor[PatternList]():
		return comment, hintHash
	}
	return comment, hintNote
}

// hasEnvFileSyntax rejects a value with text that was meant for the program
// that reads the file, not for the setting.
func (s setting) hasEnvFileSyntax(text string) *syntax.Error {
	if syntax.HasBOM(text) {
		return syntax.New(problemBOM, hintBOM)
	}
	items := []string{text}
	if s.field.Type.Kind() == reflect.Slice { // an item may begin with #, also after a blank
		items = strings.Split(text, ",")
	}
	note, hint := s.comments()
	for _, item := range items {
		item = strings.TrimSpace(item)
		switch {
		case isQuoted(item):
			return syntax.New(problemQuote, hintQuote)
		case note.MatchString(item):
			return syntax.New(problemNote, hint)
		}
	}
	return nil
}

// isQuoted reports whether text begins or ends with a quote. That the other end
// has none is usual: a comment may follow, or the value is one item of a list
// in quotes.
func isQuoted(text string) bool {
	return text != "" && (isQuote(text[0]) || isQuote(text[len(text)-1]) && !strings.HasSuffix(text, `\`+text[len(text)-1:]))
}

func isQuote(b byte) bool { return b == '"' || b == '\'' }

// doubtful describes characters that a secret should probably not contain. A secret may
// contain anything, so this is a warning. It returns "" for a usual secret.
func doubtful(secret string) string {
	trimmed := strings.TrimSpace(secret)
	switch {
	case syntax.HasBOM(secret):
		return problemBOM
	case trimmed != secret:
		return "begins or ends with white space, which is part of the value"
	case len(secret) > 1 && isQuote(secret[0]) && secret[0] == secret[len(secret)-1]:
		return problemQuote
	case strings.Contains(secret, " #"):
		return problemNote
	}
	return ""
}
