package auth

import "errors"

// A problem is the reason why a token or an answer cannot be used. Its texts
// may be logged: of the token or the answer they contain no more than the names
// of members. Errors of libraries may contain secrets.
type problem struct {
	text string
	do   string // what the operator can do about it; may be empty
}

// Error returns both texts.
func (p *problem) Error() string {
	if p.do == "" {
		return p.text
	}
	return p.text + "; " + p.do
}

// explain returns the texts of a problem. For any other error it returns a
// general text, because the error's own may contain secrets.
func explain(err error) (text, do string) {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.text, p.do
	}
	return "cannot be used", ""
}

// withAdvice returns err with this advice, if it is a problem without advice.
func withAdvice(err error, do string) error {
	if p, ok := errors.AsType[*problem](err); ok && p.do == "" {
		return &problem{text: p.text, do: do}
	}
	return err
}
