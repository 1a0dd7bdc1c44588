package config

import (
	"runtime"
	"slices"
	"strings"
)

// A Warning is something odd about a variable that does not keep Sidecast from running. It never holds a value.
type Warning struct {
	Name string // of the variable, as it is set
	Text string
}

// String returns the warning on one line.
func (w Warning) String() string { return w.Name + ": " + w.Text }

// minSecret is how many bytes a secret for HS256 has at least (RFC 7518 section 3.2).
const minSecret = 32

// warnings returns what is odd about settings that are right in themselves.
func (c *Config) warnings() []Warning {
	var list []Warning
	for _, secret := range []struct {
		name string
		Secret
	}{{"REDIS_PASSWORD", c.RedisPassword}, {"JWT_SECRET", c.JWTSecret}, {"JWT_PREVIOUS_SECRET", c.JWTPreviousSecret}} {
		if text := secret.Reveal(); strings.TrimSpace(text) != text {
			list = append(list, Warning{Prefix + secret.name, "begins or ends with white space, which is taken as part of it"})
		}
	}
	if c.JWTSecret.IsSet() && len(c.JWTSecret.Reveal()) < minSecret {
		list = append(list, Warning{Prefix + "JWT_SECRET",
			"is shorter than 32 bytes: who has one token can guess it; `openssl rand -base64 32` makes a good one"})
	}
	for _, network := range c.TrustedProxies {
		if network.Bits() == 0 {
			list = append(list, Warning{Prefix + "TRUSTED_PROXIES",
				network.String() + " believes every peer, so that anyone can claim to be any host"})
		}
	}
	return list
}

// misspelt returns a warning for each variable with the prefix that is no setting. environ is as from [os.Environ].
func misspelt(environ []string) []Warning {
	var known []string
	for _, s := range settings() {
		known = append(known, s.variable())
		if s.secret {
			known = append(known, s.variable()+fileSuffix)
		}
	}
	var list []Warning
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		upper := strings.ToUpper(name)
		read := name
		if runtime.GOOS == "windows" { // where names have no case
			read = upper
		}
		if !strings.HasPrefix(upper, Prefix) || slices.Contains(known, read) || serviceLink(upper) {
			continue
		}
		list = append(list, Warning{name, "is no setting of this version" + suggest(upper, known)})
	}
	slices.SortFunc(list, func(a, b Warning) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// serviceLink reports whether Kubernetes sets a variable of this name for a Service whose name begins with sidecast.
func serviceLink(name string) bool {
	return strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") ||
		strings.HasSuffix(name, "_PORT") || strings.Contains(name, "_PORT_")
}

// suggest returns the rest of a sentence that says what name may have been meant to be.
func suggest(name string, known []string) string {
	if bare, ok := strings.CutSuffix(name, fileSuffix); ok && slices.Contains(known, bare) {
		return ": only secrets are read from files; did you mean " + bare + "?"
	}
	nearest, least := "", len(name)
	for _, candidate := range known {
		if d := distance(name, candidate); d < least {
			nearest, least = candidate, d
		}
	}
	// Beyond a third of the letters the nearest name has nothing to do with it.
	if bare := len(name) - len(Prefix); least > max(2, bare/3) {
		return "; `sidecast --help` lists them"
	}
	return ": did you mean " + nearest + "?"
}

// distance counts the letters to insert, delete, replace or swap with their neighbour to make b of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
