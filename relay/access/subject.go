package access

// A Subject names the logins or sessions that an application means: those of a
// user, those that were made with one token, or one session.
type Subject struct {
	Kind SubjectKind
	Name string // the user's id, the token's id (jti), or the session's id
}

// A SubjectKind is the kind of a [Subject].
type SubjectKind uint8

// The kinds of subjects.
const (
	SubjectUser SubjectKind = iota
	SubjectSession
	SubjectToken
	numSubjectKinds
)

// SubjectKinds are the names of the kinds, by [SubjectKind], as applications
// write them.
var SubjectKinds = [numSubjectKinds]string{"user", "session", "token"}

// A Revocation ends logins. That of a user ends those that were made at or
// before its time, and one of a session or a token all, whatever its time is.
type Revocation struct {
	Subject
	Ms int64 // unix time in milliseconds
}
