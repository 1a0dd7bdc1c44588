// Package auth decides who a browser is and whether its page may connect at all.
//
// [Origins] judges the page, by Origin and Host, and [Proxies] finds the client's address behind proxies. A [Gate] finds
// out who the client is, by one method and never by two together: a token, which [Tokens] verifies, decides alone where
// one is presented; otherwise the application is asked with the browser's own cookies ([Application.Login]); otherwise the
// client is anybody. What no grant opens, the application can be asked about channel by channel ([Application.Permit]).
//
// A refusal is one of three things, and they are kept apart everywhere: the client has to log in (4401), it may not (4403),
// or nobody can tell now (1013). What goes wrong on our side or the application's is always the third: never a grant, and
// never a verdict about the user.
//
// No token, cookie or password is stored longer than its connection, and none stands in a log line or an error:
// answers are cached under a hash that is keyed anew in each process.
package auth
