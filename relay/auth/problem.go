package auth

// A problem is the reason why a token or an answer cannot be used. Its texts
// may be logged: of the token or the answer they contain no more than the names
// of members. Errors of libraries may contain secrets.
type problem struct {
	text string
	do   string // what the operator can do about it; may be empty
}

// Error returns the reason without the advice.
func (p *problem) Error() string { return p.text }
