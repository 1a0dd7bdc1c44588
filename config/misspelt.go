package config

import (
	"runtime"
	"slices"
	"strings"

	"sidecast/relay/syntax"
)

// misspelt returns a warning for each variable that has the prefix but is not a
// setting. environ has the form of [os.Environ].
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
		if runtime.GOOS == "windows" { // names are not case-sensitive
			read = upper
		}
		if !strings.HasPrefix(upper, Prefix) || slices.Contains(known, read) || serviceLink(upper) {
			continue
		}
		list = append(list, Warning{name, "is not a setting of this version" + suggest(upper, known)})
	}
	slices.SortFunc(list, func(a, b Warning) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// unread returns a fault for each variable that would be a setting if its name
// did not begin with a byte order mark. The first line of a file that an editor
// saved with one has such a name. To ignore REDIS_URL because of it would start
// a relay with its own Redis.
func unread(environ []string) (faults Faults) {
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if bare, ok := strings.CutPrefix(name, "\ufeff"+Prefix); ok {
			faults.Add(bare, "has a byte order mark (BOM) before its name, so it is not read", hintBOM)
		}
	}
	return faults
}

// serviceLink reports whether Kubernetes sets a variable of this name for a
// Service whose name begins with sidecast.
func serviceLink(name string) bool {
	return strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") ||
		strings.HasSuffix(name, "_PORT") || strings.Contains(name, "_PORT_")
}

// suggest returns the end of a sentence that suggests the setting that name was
// probably intended to be.
func suggest(name string, known []string) string {
	if bare, ok := strings.CutSuffix(name, fileSuffix); ok && slices.Contains(known, bare) {
		return "; only secrets are read from files; did you mean " + bare + "?"
	}
	nearest, least := "", len(name)
	for _, candidate := range known {
		if d := syntax.Distance(name, candidate); d < least {
			nearest, least = candidate, d
		}
	}
	// If more than a third of the letters differ, the nearest name is
	// unrelated.
	if bare := len(name) - len(Prefix); least > max(2, bare/3) {
		return "; `sidecast --help` lists the settings"
	}
	return "; did you mean " + nearest + "?"
}
