package relay_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Imports point in one direction: main, cli, app, then transports and what
// talks to Redis or the application, then the core, then leaf packages. Each
// package lists all packages of this module that its production code may import.
var allowedImports = map[string][]string{
	"":          {"relay/cli"},
	"relay/cli": {"config", "relay/access", "relay/app", "relay/auth", "relay/blackbox", "relay/embedded", "relay/origin", "relay/protocol", "relay/server", "relay/source", "relay/stats", "relay/stream", "relay/syntax", "relay/through", "relay/trace", "relay/why", "relay/ws"},
	"relay/app": {
		"config", "relay", "relay/accept", "relay/access", "relay/admin", "relay/auth", "relay/blackbox", "relay/control", "relay/counts", "relay/embedded", "relay/events", "relay/loopback",
		"relay/outbox", "relay/presence", "relay/protocol", "relay/pusher", "relay/roster", "relay/server", "relay/source", "relay/sse", "relay/stats", "relay/stream", "relay/trace", "relay/transport", "relay/web", "relay/why", "relay/ws",
		"relay/console",
	},
	"config": {"relay/access", "relay/loopback", "relay/origin", "relay/protocol", "relay/publickey", "relay/redisurl", "relay/syntax"},

	"relay/server":      {"relay", "relay/accept", "relay/auth", "relay/front", "relay/protocol", "relay/sse", "relay/stats", "relay/ws"},
	"relay/front":       {},
	"relay/sse":         {"relay", "relay/accept", "relay/access", "relay/outbox", "relay/protocol", "relay/stats", "relay/syntax", "relay/transport"},
	"relay/pusher":      {"relay/accept", "relay/access", "relay/auth", "relay/protocol", "relay/stats", "relay/transport"},
	"relay/ws":          {"relay", "relay/accept", "relay/access", "relay/outbox", "relay/protocol", "relay/stats", "relay/syntax", "relay/transport"},
	"relay/transport":   {"relay/outbox"},
	"relay/accept":      {"relay/stats"},
	"relay/source":      {"relay/access", "relay/loopback", "relay/redisurl", "relay/source/resp", "relay/stats", "relay/stream", "relay/syntax"},
	"relay/control":     {"relay/access", "relay/protocol", "relay/source", "relay/stats"},
	"relay/source/resp": {},
	"relay/counts":      {"relay/access", "relay/stats"},
	"relay/presence":    {"relay/access", "relay/roster", "relay/stats"},
	"relay/auth":        {"relay/access", "relay/loopback", "relay/origin", "relay/protocol", "relay/publickey", "relay/stats"},
	"relay/events":      {"relay/access", "relay/protocol", "relay/stats"},
	"relay/admin":       {"relay/blackbox", "relay/loopback", "relay/protocol", "relay/stats", "relay/trace"},
	"relay/trace":       {"relay/access", "relay/blackbox", "relay/protocol"},
	"relay/console":     {"relay/blackbox", "relay/protocol", "relay/stats"},
	"relay/embedded":    {"relay/loopback"},
	"relay/through":     {"relay/protocol", "relay/source"},
	"relay/web":         {},

	"relay": {"relay/access", "relay/blackbox", "relay/history", "relay/outbox", "relay/pagecache", "relay/protocol", "relay/roster", "relay/stats", "relay/stream"},

	"relay/access":    {"relay/protocol"},
	"relay/blackbox":  {},
	"relay/why":       {"relay/access", "relay/blackbox", "relay/protocol", "relay/syntax"},
	"relay/history":   {},
	"relay/loopback":  {},
	"relay/origin":    {"relay/syntax"},
	"relay/outbox":    {"relay/protocol", "relay/stats"},
	"relay/pagecache": {},
	"relay/protocol":  {},
	"relay/publickey": {"relay/syntax"},
	"relay/roster":    {"relay/protocol"},
	"relay/redisurl":  {"relay/syntax"},
	"relay/stats":     {"relay/protocol"},
	"relay/stream":    {"relay/pagecache", "relay/protocol", "relay/stats"},
	"relay/syntax":    {},
}

// Test kits may import each other and be imported by tests; they are not in the
// binary.
func isKit(dir string) bool {
	return dir == "relay/relaytest" || strings.HasPrefix(dir, "relay/relaytest/") || dir == "relay/outbox/outboxtest" || dir == "relay/roster/rostertest"
}

// dependencies are all modules outside the standard library, and the packages
// that may import them; nil means every package but the core and its leaves.
var dependencies = []struct {
	prefix   string
	packages []string
	tests    bool // whether all tests and kits may, too
	why      string
}{
	{"github.com/lxzan/gws", []string{"relay/ws"}, false, "a frame of 14 bytes crashes it, so relay/ws reads what clients send without it"},
	{"github.com/redis/go-redis/v9", []string{"relay/control", "relay/counts", "relay/events", "relay/presence", "relay/source", "relay/cli"}, true, "other packages get functions from relay/app and can be tested without Redis"},
	{"github.com/kelseyhightower/envconfig", []string{"config"}, false, "its errors contain the values of settings, passwords included"},
	{"github.com/alicebob/miniredis/v2", []string{"relay/embedded"}, true, "tests use a real Redis, see relay/relaytest/redistest, unless they set its clock"},
	{"github.com/prometheus/", []string{"relay/admin"}, false, "packages count in relay/stats, and relay/admin exports it"},
	{"github.com/golang-jwt/jwt/v5", []string{"relay/auth"}, true, "one package decides which algorithms and keys are valid"},
	{"github.com/MicahParks/", []string{"relay/auth"}, false, "one package decides which algorithms and keys are valid"},
	{"github.com/chromedp/", nil, true, "it is for tests"},
	{"github.com/rogpeppe/go-internal/testscript", nil, true, "it is for tests"},
	{"golang.org/x/sync/", nil, true, ""},
	{"golang.org/x/sys/", nil, true, ""},
	{"golang.org/x/time/", nil, true, ""},
}

// standardOnly are the packages that import only the standard library and each
// other, so that they run in a synctest bubble and outlive any library.
var standardOnly = []string{
	"relay", "relay/access", "relay/front", "relay/history", "relay/loopback", "relay/origin", "relay/outbox", "relay/protocol",
	"relay/publickey", "relay/redisurl", "relay/source/resp", "relay/stats", "relay/stream", "relay/syntax", "relay/syntax",
}

// objection returns why the file of a package may not import another package, or
// "". external says that the file is an external test.
func objection(dir, imported string, test, external bool) string {
	kit := isKit(dir)
	if ours, ok := strings.CutPrefix(imported+"/", "sidecast/"); ok {
		ours = strings.TrimSuffix(ours, "/")
		allowed, known := allowedImports[dir]
		switch {
		case ours == dir, external, kit, test && isKit(ours):
			return ""
		case isKit(ours):
			return "test kits are not in the binary"
		case !known:
			return "a new package needs a row in allowedImports"
		case !slices.Contains(allowed, ours):
			return "it is not in its row of allowedImports"
		}
		return ""
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		if imported == "C" {
			return "the relay is one static binary for every system, so there is no cgo"
		}
		return ""
	}
	for _, d := range dependencies {
		rest, found := strings.CutPrefix(imported, d.prefix)
		if !found || rest != "" && rest[0] != '/' && !strings.HasSuffix(d.prefix, "/") {
			continue
		}
		switch {
		case (test || kit) && d.tests, slices.Contains(d.packages, dir):
			return ""
		case kit && d.prefix == "github.com/lxzan/gws", d.packages == nil && !d.tests:
			return ""
		case d.packages == nil && d.why == "" && !slices.Contains(standardOnly, dir):
			return ""
		case slices.Contains(standardOnly, dir):
			return "this package imports only the standard library"
		}
		return d.why
	}
	return "a new dependency needs a row in this file that says which packages may import it and why"
}

// Every import of every Go file, for every system, follows the rules.
func TestImports(t *testing.T) {
	seen := map[string]bool{}
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, entry fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (base[0] == '.' || base[0] == '_' || base == "testdata" || base == "node_modules"):
			return fs.SkipDir // as the go command does
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		dir := strings.TrimPrefix(path.Dir(name), ".")
		syntax, err := parser.ParseFile(token.NewFileSet(), path.Join("..", name), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen[dir] = true
		test := strings.HasSuffix(name, "_test.go")
		for _, spec := range syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if why := objection(dir, imported, test, test && strings.HasSuffix(syntax.Name.Name, "_test")); why != "" {
				t.Errorf("%s imports %s: %s", name, imported, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range allowedImports {
		if !seen[dir] {
			t.Errorf("allowedImports has a row for %q, which has no Go files", dir)
		}
	}
}

// Each rule objects to its case, and to nothing else.
func TestImportRules(t *testing.T) {
	const redis, gws, errgroup = "github.com/redis/go-redis/v9", "github.com/lxzan/gws", "golang.org/x/sync/errgroup"
	for _, c := range []struct {
		dir, kind, imports string
		want               string // begins the objection; "" for none
	}{
		{"", "", "sidecast/relay/cli", ""},
		{"", "", "sidecast/config", "it is not in its row"},
		{"relay/cli", "", "sidecast/config", ""},
		{"relay/server", "", "sidecast/config", "it is not in its row"},
		{"config", "", "sidecast/relay/access", ""},
		{"config", "", "sidecast/relay", "it is not in its row"},
		{"config", "test", "sidecast/relay", "it is not in its row"},
		{"relay", "", "sidecast/relay/stream", ""},
		{"relay", "", "sidecast/relay/ws", "it is not in its row"},
		{"relay/stream", "", "sidecast/relay", "it is not in its row"},
		{"relay/new", "", "sidecast/relay", "a new package needs a row"},
		// External tests may use anything of ours, tests may use kits.
		{"relay", "external", "sidecast/relay/ws", ""},
		{"relay", "test", "sidecast/relay/relaytest/redistest", ""},
		{"relay", "", "sidecast/relay/relaytest", "test kits are not in the binary"},
		{"relay/relaytest/e2e", "", "sidecast/relay/server", ""},
		// Each library has its package.
		{"relay/ws", "", gws, ""},
		{"relay/server", "external", gws, "a frame of 14 bytes"},
		{"relay/relaytest", "", gws, ""},
		{"relay/source", "", redis + "/maintnotifications", ""},
		{"relay/web", "", redis, "other packages get functions"},
		{"relay/web", "test", redis, ""},
		{"relay", "", redis, "this package imports only the standard library"},
		{"relay", "test", redis, ""},
		{"config", "", "github.com/kelseyhightower/envconfig", ""},
		{"relay/ws", "", "github.com/kelseyhightower/envconfig", "its errors contain"},
		{"relay/admin", "", "github.com/prometheus/client_golang/prometheus", ""},
		{"relay/ws", "test", "github.com/golang-jwt/jwt/v5", ""},
		{"relay/web", "", "github.com/chromedp/chromedp", "it is for tests"},
		{"relay/relaytest/browser", "", "github.com/chromedp/chromedp", ""},
		{"relay/server", "", errgroup, ""},
		{"relay", "", errgroup, "this package imports only the standard library"},
		{"relay", "", "C", "the relay is one static binary"},
		{"relay", "", "sync/atomic", ""},
		// Another major version, or a name that only begins like a known one.
		{"relay/source", "", "github.com/redis/go-redis/v10", "a new dependency"},
		{"relay/ws", "test", "github.com/stretchr/testify/assert", "a new dependency"},
	} {
		got := objection(c.dir, c.imports, c.kind != "", c.kind == "external")
		if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s %s imports %s: objection %q, want %q", c.dir, c.kind, c.imports, got, c.want)
		}
	}
}

// The root remains a page that can be read at a glance: code and prose go below
// relay and config, and generated files into .gitignore.
func TestTopLevel(t *testing.T) {
	want := []string{"Dockerfile", "LICENSE", "README.md", "config", "go.mod", "go.sum", "helm", "main.go", "relay"}
	generated := []string{"sidecast", "dist", "node_modules"}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		ext := path.Ext(name)
		if name[0] != '.' && !slices.Contains(want, name) && !slices.Contains(generated, name) && ext != ".test" && ext != ".out" && ext != ".prof" {
			t.Errorf("%s is at the top level, which holds only %s and dotfiles", name, strings.Join(want, ", "))
		}
	}
}
