// Package config reads Sidecast's settings from the environment.
//
// Every setting is a variable that begins with SIDECAST_, and a field of [Config] with tags; a new one is one line there.
// Variables without the prefix are never read, because an application's own REDIS_URL and LOG_LEVEL stand in the same
// environment. A setting exists only when it works.
//
// [Load] tells everything that is wrong at once, as [Faults], one line each: which variable, what is wrong, what to write.
// The caller can add what only it can know:
//
//	cfg, warnings, err := config.Load()
//	faults, _ := errors.AsType[config.Faults](err)
//	for _, pattern := range cfg.Channels {
//		if _, err := relay.ParsePattern(pattern); err != nil {
//			faults.Add("CHANNELS", err.Error(), "write it as for PSUBSCRIBE")
//		}
//	}
//	if err := faults.Err(); err != nil {
//		fmt.Fprintln(stderr, err)
//		return 2
//	}
//
// # How values are written
//
// White space around a value is dropped, except in a secret. A variable that is set but empty is a fault, because it comes
// from a shell variable that is unset. Durations carry a unit (10s), sizes may (64MiB), lists are written with commas,
// numbers in decimal digits. COMMAND_RATE is one number, the commands a second; [Rate.Burst] is 2.5 times that.
//
// # Secrets
//
// A secret, and REDIS_URL because it can hold one, can also come from a file: SIDECAST_REDIS_PASSWORD_FILE names it. One
// trailing line break is dropped; the file has at most 64 KiB. No fault, warning, table or print of a Config shows a
// secret, nor the credentials in REDIS_URL, nor the name in a _FILE variable, where a secret may stand by mistake.
//
// # Two modes
//
// Without REDIS_URL, Sidecast runs with a Redis in memory: open to all, and listening on loopback only. With one, it
// listens everywhere and relays nothing until it was told what to relay and who may hear it. The tag `embedded` holds
// the defaults that differ.
package config
