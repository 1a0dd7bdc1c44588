// Package access decides which channels a client may subscribe to and publish
// to.
//
// A [Pattern] matches channel names as a Redis glob does. [Names] translates
// between channel names and names in Redis and knows the reserved names. An
// [Identity] holds what a token or the application grants to a client. [Rules]
// combines the relay's settings with the client's identity. It gives the answer
// as a [protocol.Code].
//
// Package config parses the patterns in the settings. The hub asks [Rules]
// about each command of a client. Package source uses [Names] and patterns for
// each message from Redis. Package auth makes identities.
//
// All values are immutable and may be used concurrently. The zero values grant
// nothing. A reserved or invalid name is never open, whatever the settings and
// grants say.
package access
