// Package auth decides who a browser is and whether its page may connect at all: origins, hosts and the client's address
// behind proxies.
//
// It is a leaf: any room may import it, and it imports none but sidecast/relay.
package auth
