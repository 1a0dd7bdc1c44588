package source

import (
	"regexp"
	"slices"
	"strings"
)

// usualReplies are answers of Redis that repeat nothing but names, although they
// contain words which may also be passwords. A group is a name that somebody
// chose. The answer has to match as a whole: a proxy or another program may begin
// its answer in the same way, and continue with what it received.
var usualReplies = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`redis: nil`,
	// Logins.
	`WRONGPASS invalid username-password pair or user is disabled\.`,
	`ERR invalid password`,
	`ERR invalid username-password pair or user is disabled\.`,
	`ERR Client sent AUTH, but no password is set`,
	`ERR AUTH <password> called without any password configured for the default user\. ` +
		`Are you sure your configuration is correct\?`,
	`NOAUTH Authentication required\.`,
	`NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO (?:<proto> )?AUTH <user> ` +
		`<pass> option can be used to authenticate the client and select the RESP protocol version at the same time`,
	// Rights.
	`NOPERM ` + aUser + ` has no permissions to run the '(?:` + commandNames + `|(.*))' command(?: or its subcommand)?`,
	`NOPERM ` + aUser + ` has no permissions to access the '(.*)' (?:key|channel)`,
	`NOPERM this user has no permissions to access one of the (?:keys|channels) used as arguments`,
	`NOPERM No permissions to access a (?:key|channel)`,
	// The state of the server.
	`DENIED Redis is running in protected mode because protected mode is enabled(.*)`,
	`ERR max number of clients (?:\+ cluster connections )?reached`,
	`ERR This instance has cluster support disabled`,
	`ERR DB index is out of range`,
	`LOADING (?:Redis|Valkey) is loading the dataset in memory`,
	`BUSY (?:Redis|Valkey) is busy running a script\. You can only call (?:SCRIPT|FUNCTION) KILL or SHUTDOWN NOSAVE\.`,
	`BUSY (?:Redis|Valkey) is busy running a module command\.`,
	`MASTERDOWN Link with MASTER is down and (?:replica|slave)-serve-stale-data is set to 'no'\.`,
	`READONLY You can't write against a read only (?:replica|slave)\.`,
	`OOM command not allowed when used memory > 'maxmemory'\.?`,
	`MISCONF Redis is configured to save RDB snapshots, but it(?:'s| is) currently (?:un|not )able to persist (?:to|on) ` +
		`disk\. Commands that may modify the data set are disabled, because this instance is configured to report errors during ` +
		`writes if RDB snapshotting fails \(stop-writes-on-bgsave-error option\)\. ` +
		`Please check the Redis logs for details about the RDB error\.`,
	`MISCONF Errors writing to the AOF file: (.*)`,
	`NOREPLICAS Not enough good replicas to write\.`,
	// Clusters and keys.
	`CLUSTERDOWN The cluster is down(?: and only accepts read commands)?`,
	`CLUSTERDOWN Hash slot not served`,
	`TRYAGAIN Multiple keys request during rehashing of slot`,
	`(?:MOVED|ASK) \d{1,5} (?:\d{1,3}(?:\.\d{1,3}){3}|(\S*)):\d{1,5}`,
	`WRONGTYPE Operation against a key holding the wrong kind of value`,
}, `|`) + `)$`)

const (
	aUser = `(?:[Tt]his user|User (.*))`
	// commandNames are those of the commands that the relay and its check use.
	commandNames = `hello|auth|select|ping|client(?:\|setname)?|role|info|p?(?:un)?subscribe|publish|pubsub(?:\|numsub)?|` +
		`xadd|xrange|xrevrange|xinfo(?:\|stream)?|asking|cluster(?:\|slots|\|links)?|command|` +
		`sentinel(?:\|get-master-addr-by-name)?`
)

// isUsualReply reports whether an answer is one of those of Redis that repeat
// only names, and no name contains a password. The user's own name is no secret.
func isUsualReply(reply, user string, passwords passwordList) bool {
	match := usualReplies.FindStringSubmatch(reply)
	return match != nil && !slices.ContainsFunc(match[1:], func(name string) bool {
		return name != user && name != "default" && passwords.in(name)
	})
}
