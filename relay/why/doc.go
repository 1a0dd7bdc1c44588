// Package why explains, from the records of a relay (relay/blackbox), for a
// message on a channel and each session that may have been meant, whether the
// client received it, and why not.
package why
