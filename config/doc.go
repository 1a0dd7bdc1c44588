// Package config reads Sidecast's settings from the environment.
//
// Every setting is a variable that begins with SIDECAST_ and a field of
// [Config] with tags. To add a setting, add a field. Variables without the
// prefix are never read, because the same environment contains the
// application's own REDIS_URL and LOG_LEVEL. A setting exists only if it works.
//
// [Load] reports all faults at once, as [Faults] with one line each: the
// variable, the problem and the remedy. The caller can add faults that only it
// can find:
//
//	cfg, warnings, err := config.Load()
//	faults, _ := errors.AsType[config.Faults](err)
//	if _, err := tls.LoadX509KeyPair(string(cfg.TLSCert), string(cfg.TLSKey)); err != nil {
//		faults.Add("TLS_KEY", err.Error(), "use the key of the certificate")
//	}
//	if err := faults.Err(); err != nil {
//		fmt.Fprintln(stderr, err)
//		return 2
//	}
//
// The package imports only the standard library, envconfig, and the packages of
// the relay that parse a text: each kind of text has one parser, which the
// relay uses too.
//
// # Values
//
// White space around a value is ignored, except in a secret. A variable that is
// set but empty counts as unset and causes a warning. It is a fault if the
// relay would accept more without it: a secret, REDIS_URL, EMBEDDED, the
// certificate and its key, and the conditions for tokens. Quotes, comments and
// byte order marks, which some readers of a file of variables keep, are faults,
// in a secret they cause a warning. Durations have a unit
// (10s), sizes may have one (64MiB), lists are separated by commas, and numbers
// are written in decimal digits. COMMAND_RATE is the number of commands per
// second; [Rate.Burst] is 2.5 times that.
//
// # Secrets
//
// A secret can also be read from a file, such as the one that
// SIDECAST_REDIS_PASSWORD_FILE names. So can REDIS_URL, because it may contain
// a secret. One trailing line break is removed; a file may have at most 64 KiB.
// No fault, warning, table or printed Config shows a secret, the credentials in
// REDIS_URL, or the path in a _FILE variable, which may be a secret by mistake.
//
// # Two modes
//
// Without REDIS_URL, Sidecast runs with an in-memory Redis: every channel is
// open, and it listens on loopback only. With REDIS_URL, it listens on all
// addresses, and relays nothing until settings define which channels to relay
// and who may subscribe to them. The tag `embedded` contains the defaults that
// differ.
package config
