// Package auth decides who a browser is and whether its page may connect at all: origins, hosts and the client's address
// behind proxies.
package auth
