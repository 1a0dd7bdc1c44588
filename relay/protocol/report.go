package protocol

import "time"

// A ReportKind is the kind of event that a [Report] describes.
type ReportKind uint8

// The kinds, as the field `kind` of the stream of events names them.
const (
	ReportJoined       ReportKind = iota // a user became a member of a channel
	ReportLeft                           // a user is no longer a member of a channel
	ReportUnheard                        // no client of any relay was subscribed when a message was published
	ReportConnected                      // a session began
	ReportDisconnected                   // a session ended
	ReportPublished                      // a client published a message
	ReportEvicted                        // a session ended because its client read too slowly
	ReportRefused                        // a client was refused, or one of its commands
	ReportControl                        // the answer to an action of the application
	NumReportKinds
)

var reportKinds = [NumReportKinds]string{
	"joined", "left", "unheard", "connected", "disconnected", "published", "evicted", "refused", "control",
}

// String returns the kind as it appears in the stream and in metrics.
func (k ReportKind) String() string { return reportKinds[k] }

// ReportKinds returns all kinds.
func ReportKinds() (all [NumReportKinds]ReportKind) {
	for i := range all {
		all[i] = ReportKind(i)
	}
	return all
}

// A Report says to the application what happened to a client: an entry of the
// stream of events. Fields that do not apply are empty.
type Report struct {
	Kind    ReportKind
	At      time.Time // when it happened; zero for now
	User    string
	Session string
	Channel string
	Code    string // a close code, or the [Code] of a command
	Cursor  string // of a message
	ID      string // of the action that this answers
	Count   int    // sessions that the action concerned; only in an answer
}
