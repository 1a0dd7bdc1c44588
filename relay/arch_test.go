package relay_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the import path of the repository's root, which is the parent of this directory.
const module = "sidecast"

// The rooms with a part in the arrows that their names do not tell. Every other room is as relay/X below.
const (
	roomMain   = ""
	roomConfig = "config"
	roomCore   = "relay"
)

// assemblers put rooms together: they may import any.
var assemblers = []string{"relay/server", "relay/command"}

// kits exist for tests and measurements, and are not in the binary.
var kits = []string{"relay/relaytest", "relay/loadtest"}

// A dependency is a module, or a family of modules, that is not of the standard library.
type dependency struct {
	prefix string   // of import paths
	rooms  []string // that may import it; nil means all but those that keep to the standard library
	tests  bool     // whether tests and kits of every room may, too
	why    string   // nobody else may
}

var dependencies = []dependency{
	{
		prefix: "github.com/lxzan/gws", rooms: []string{"relay/ws", "relay/relaytest", "relay/loadtest"},
		why: "one 14-byte frame crashes it, so it may only read behind the guard of relay/ws",
	},
	{
		prefix: "github.com/redis/go-redis/v9", rooms: []string{roomMain, "relay/source", "relay/command"}, tests: true,
		why: "whoever else needs Redis gets a function from main, and can be tested without one",
	},
	{
		prefix: "github.com/kelseyhightower/envconfig", rooms: []string{roomConfig},
		why: "it prints values of settings, passwords included, in its errors: config stands before it",
	},
	{
		prefix: "github.com/alicebob/miniredis/v2", rooms: []string{"relay/embedded"},
		why: "it is for development; tests run a real Redis, see relay/relaytest/redistest",
	},
	{
		prefix: "github.com/prometheus/", rooms: []string{"relay/admin"},
		why: "rooms count in relay.Stats, and relay/admin shows it",
	},
	{
		prefix: "github.com/golang-jwt/jwt/v5", rooms: []string{"relay/auth"}, tests: true,
		why: "one room decides which algorithms and keys are believed",
	},
	{
		prefix: "github.com/MicahParks/", rooms: []string{"relay/auth"},
		why: "one room decides which algorithms and keys are believed",
	},
	{
		prefix: "github.com/chromedp/", rooms: []string{"relay/relaytest"}, tests: true,
		why: "it is for tests and stays out of the binary",
	},
	{
		prefix: "github.com/rogpeppe/go-internal/testscript", rooms: []string{"relay/relaytest"}, tests: true,
		why: "it is for tests and stays out of the binary",
	},
	{prefix: "golang.org/x/sync/"},
	{prefix: "golang.org/x/sys/"},
	{prefix: "golang.org/x/time/"},
}

// topLevel lists what may stand at the repository's root beside names that begin with a dot and what .gitignore names.
var topLevel = []string{
	"Dockerfile", "LICENSE", "README.md", "config", "go.mod", "go.sum", "helm", "main.go", "relay",
}

// vague lists names that say nothing of what a package is for, so that anything ends up in it.
var vague = []string{
	"common", "helper", "helpers", "manager", "managers", "misc", "service", "services", "shared", "util", "utils",
}

// A goFile is what the rules see of a Go file.
type goFile struct {
	path     string // from the root, with slashes
	pkg      string // the declared name, which ends in _test for an external test
	doc      string // the package comment, if this file has it
	imports  []string
	external bool // an external test: a program beside the room rather than a part of it
	test     bool
}

func (f goFile) dir() string { return strings.TrimPrefix(path.Dir(f.path), ".") }

// room returns the room in which a directory is: its first two elements.
func room(dir string) string {
	elements := strings.SplitN(dir, "/", 3)
	return strings.Join(elements[:min(2, len(elements))], "/")
}

// readTree parses the head of every Go file under the root, whatever system it is for.
func readTree(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (base[0] == '.' || base[0] == '_' || base == "testdata" || base == "node_modules"):
			return fs.SkipDir // as the go command does
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, newGoFile(name, syntax))
		return nil
	})
	if err != nil {
		t.Fatalf("reading the tree: %v", err)
	}
	return files
}

func newGoFile(name string, syntax *ast.File) goFile {
	f := goFile{path: name, pkg: syntax.Name.Name, doc: syntax.Doc.Text(), test: strings.HasSuffix(name, "_test.go")}
	f.external = f.test && strings.HasSuffix(f.pkg, "_test")
	for _, spec := range syntax.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value) // the parser has refused what is not a string
		f.imports = append(f.imports, imported)
	}
	return f
}

// leavesOf returns the rooms that call themselves a leaf in their package comment.
func leavesOf(files []goFile) []string {
	var leaves []string
	for _, f := range files {
		if f.dir() == room(f.dir()) && strings.Contains(f.doc, "is a leaf") {
			leaves = append(leaves, f.dir())
		}
	}
	return leaves
}

// objection returns why f may not import a package, or "".
func objection(f goFile, imported string, leaves []string) string {
	if imported == module || strings.HasPrefix(imported, module+"/") {
		return objectionToOurs(f, room(strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")), leaves)
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		if imported == "C" {
			return "the relay is one static binary for every system, so there is no cgo"
		}
		return ""
	}
	return objectionToOthers(f, imported)
}

func objectionToOurs(f goFile, to string, leaves []string) string {
	from := room(f.dir())
	switch {
	case to == from:
		return ""
	case to == roomMain:
		return "main sees everything and nothing sees main"
	case slices.Contains(kits, to) && !f.test && !slices.Contains(kits, from):
		return "what tests are made of is not in the binary"
	case f.external, from == roomMain:
		return ""
	case from == roomConfig:
		return "config knows nothing of the relay: main translates settings into what each room takes"
	case to == roomConfig:
		return "no room knows settings: main translates them into what each room takes"
	case slices.Contains(kits, to), slices.Contains(assemblers, from), slices.Contains(kits, from):
		return ""
	case from == roomCore:
		return "the core knows no room: it declares an interface, and the room implements it"
	case to == roomCore:
		return ""
	case slices.Contains(leaves, from):
		return "a leaf that imports a room is none: whoever imports the leaf would get the room"
	case !slices.Contains(leaves, to):
		return fmt.Sprintf("rooms do not know each other: relay declares what they share, %s assemble, and a room is for all "+
			"if its package doc says that it is a leaf", strings.Join(assemblers, " and "))
	}
	return ""
}

func objectionToOthers(f goFile, imported string) string {
	from := room(f.dir())
	i := slices.IndexFunc(dependencies, func(d dependency) bool {
		rest, found := strings.CutPrefix(imported, d.prefix)
		return found && (rest == "" || rest[0] == '/' || strings.HasSuffix(d.prefix, "/"))
	})
	if i < 0 {
		return "a new dependency needs a row in this file, with who may import it and why"
	}
	d := dependencies[i]
	switch forTests := f.test || slices.Contains(kits, from); {
	case forTests && d.tests:
		return ""
	case d.rooms != nil && !slices.Contains(d.rooms, from):
		return d.why
	case from == roomCore && !f.test:
		return "the core is the standard library alone, so that it runs in a synctest bubble and outlives its libraries"
	case from == roomConfig && !f.test && !slices.Contains(d.rooms, from):
		return "config is the standard library and envconfig, so that settings can be read before anything runs"
	}
	return ""
}

func TestImports(t *testing.T) {
	files := readTree(t)
	leaves := leavesOf(files)
	rooms := make(map[string]bool)
	for _, f := range files {
		rooms[room(f.dir())] = true
		for _, imported := range f.imports {
			if why := objection(f, imported, leaves); why != "" {
				t.Errorf("%s imports %s: %s", f.path, imported, why)
			}
		}
	}
	// A walk that found nothing would object to nothing.
	for _, known := range []string{roomMain, roomConfig, roomCore, "relay/ws", "relay/relaytest"} {
		if !rooms[known] {
			t.Errorf("no Go file found in %q, only in %q", known, slices.Sorted(maps.Keys(rooms)))
		}
	}
}

// What the rules are tried with.
const redisPath, gwsPath, errgroupPath = "github.com/redis/go-redis/v9", "github.com/lxzan/gws", "golang.org/x/sync/errgroup"

var ruleCases = []struct {
	file, pkg, imports string
	want               string // begins the objection; "" for none
}{
	// main sees everything that is in the binary.
	{"main.go", "main", "sidecast/config", ""},
	{"main.go", "main", "sidecast/relay/ws", ""},
	{"main.go", "main", redisPath, ""},
	{"main.go", "main", errgroupPath, ""},
	{"main.go", "main", gwsPath, "one 14-byte frame"},
	{"main.go", "main", "sidecast/relay/relaytest", "what tests are made of"},
	{"relay/server/x.go", "server", "sidecast", "main sees everything"},
	// config and the relay do not know each other.
	{"config/x.go", "config", "crypto/x509", ""},
	{"config/x.go", "config", "github.com/kelseyhightower/envconfig", ""},
	{"config/x.go", "config", "sidecast/relay", "config knows nothing"},
	{"config/x_test.go", "config", "sidecast/relay", "config knows nothing"},
	{"config/x.go", "config", errgroupPath, "config is the standard library"},
	{"config/x.go", "config", redisPath, "whoever else needs Redis"},
	{"relay/server/x.go", "server", "sidecast/config", "no room knows settings"},
	{"relay/ws/x.go", "ws", "github.com/kelseyhightower/envconfig", "it prints values"},
	// The core is the standard library; its tests may use a kit.
	{"relay/hub.go", "relay", "sync/atomic", ""},
	{"relay/hub.go", "relay", "C", "the relay is one static binary"},
	{"relay/hub.go", "relay", errgroupPath, "the core is the standard library"},
	{"relay/hub.go", "relay", redisPath, "whoever else needs Redis"},
	{"relay/hub.go", "relay", "sidecast/relay/protocol", "the core knows no room"},
	{"relay/hub_test.go", "relay", "sidecast/relay/protocol", "the core knows no room"},
	{"relay/hub_test.go", "relay", redisPath, ""},
	{"relay/hub_test.go", "relay_test", "sidecast/relay/relaytest/redistest", ""},
	{"relay/hub_test.go", "relay_test", "sidecast/relay/ws", ""},
	// Rooms know the core and leaves, leaves know the core, assemblers know all.
	{"relay/ws/x.go", "ws", "sidecast/relay", ""},
	{"relay/ws/x.go", "ws", "sidecast/relay/protocol", ""},
	{"relay/ws/x.go", "ws", "sidecast/relay/source", "rooms do not know each other"},
	{"relay/ws/deep/x.go", "deep", "sidecast/relay/source/deep", "rooms do not know each other"},
	{"relay/ws/deep/x.go", "deep", "sidecast/relay/ws", ""},
	{"relay/ws/x_test.go", "ws", "sidecast/relay/source", "rooms do not know each other"},
	{"relay/ws/x_test.go", "ws_test", "sidecast/relay/source", ""},
	{"relay/auth/x.go", "auth", "sidecast/relay", ""},
	{"relay/auth/x.go", "auth", "sidecast/relay/protocol", "a leaf that imports a room"},
	{"relay/server/x.go", "server", "sidecast/relay/source", ""},
	{"relay/command/x.go", "command", "sidecast/relay/ws", ""},
	// Kits are for tests.
	{"relay/ws/x.go", "ws", "sidecast/relay/relaytest", "what tests are made of"},
	{"relay/server/x.go", "server", "sidecast/relay/relaytest/redistest", "what tests are made of"},
	{"relay/ws/x_test.go", "ws", "sidecast/relay/relaytest", ""},
	{"relay/relaytest/x.go", "relaytest", "sidecast/relay/server", ""},
	{"relay/loadtest/x.go", "main", "sidecast/relay/relaytest", ""},
	// Each library has its room.
	{"relay/ws/x.go", "ws", gwsPath, ""},
	{"relay/server/x_test.go", "server_test", gwsPath, "one 14-byte frame"},
	{"relay/source/x.go", "source", redisPath + "/maintnotifications", ""},
	{"relay/web/x.go", "web", redisPath, "whoever else needs Redis"},
	{"relay/web/x_test.go", "web", redisPath, ""},
	{"relay/relaytest/x.go", "relaytest", redisPath, ""},
	{"relay/embedded/x.go", "embedded", "github.com/alicebob/miniredis/v2/server", ""},
	{"relay/source/x_test.go", "source", "github.com/alicebob/miniredis/v2", "it is for development"},
	{"relay/admin/x.go", "admin", "github.com/prometheus/client_golang/prometheus", ""},
	{"relay/ws/x.go", "ws", "github.com/prometheus/client_model/go", "rooms count in relay.Stats"},
	{"relay/auth/x.go", "auth", "github.com/MicahParks/keyfunc/v3", ""},
	{"relay/ws/x.go", "ws", "github.com/golang-jwt/jwt/v5", "one room decides"},
	{"relay/ws/x_test.go", "ws", "github.com/golang-jwt/jwt/v5", ""},
	{"relay/web/x.go", "web", "github.com/chromedp/chromedp", "it is for tests"},
	{"relay/relaytest/browser/x.go", "browser", "github.com/chromedp/chromedp", ""},
	{"relay/server/x_test.go", "server", "github.com/rogpeppe/go-internal/testscript", ""},
	{"relay/server/x.go", "server", "golang.org/x/time/rate", ""},
	// Another major version, or a name that only begins like a known one, is a new dependency.
	{"relay/source/x.go", "source", "github.com/redis/go-redis/v10", "a new dependency"},
	{"relay/ws/x.go", "ws", "github.com/lxzan/gwsx", "a new dependency"},
	{"relay/ws/x_test.go", "ws", "github.com/stretchr/testify/assert", "a new dependency"},
}

// Each rule objects to what it is there for, and to nothing else.
func TestImportRules(t *testing.T) {
	leaves := []string{"relay/protocol", "relay/auth"}
	for _, c := range ruleCases {
		f := goFile{path: c.file, test: strings.HasSuffix(c.file, "_test.go"), external: strings.HasSuffix(c.pkg, "_test")}
		got := objection(f, c.imports, leaves)
		if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s (package %s) imports %s: objection %q, want %q", c.file, c.pkg, c.imports, got, c.want)
		}
	}
}

// A room is named for what it knows.
func TestPackageNames(t *testing.T) {
	for _, f := range readTree(t) {
		for _, name := range []string{path.Base(f.dir()), strings.TrimSuffix(f.pkg, "_test")} {
			if slices.Contains(vague, name) {
				t.Errorf("%s: a package named %q gathers what nobody wants: name it for what it knows, or put the code beside "+
					"the one that uses it", f.path, name)
			}
		}
	}
}

// The root stays a page that one can read at a glance.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	ignored := ignoredAtTop(t)
	for _, entry := range entries {
		name := entry.Name()
		known := name[0] == '.' || slices.Contains(topLevel, name)
		if !known && !slices.ContainsFunc(ignored, func(glob string) bool { ok, _ := path.Match(glob, name); return ok }) {
			t.Errorf("%s stands at the top level, which holds only %s and names that begin with a dot: code and prose go "+
				"under relay or config, and what is generated goes into .gitignore", name, strings.Join(topLevel, ", "))
		}
	}
}

// ignoredAtTop returns the patterns of .gitignore that can match an entry of the root. It knows neither negation nor
// patterns with a slash inside, and needs neither.
func ignoredAtTop(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	var globs []string
	for line := range strings.Lines(string(text)) {
		glob := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "/"), "/")
		if cmp.Or(glob, "#")[0] != '#' && !strings.Contains(glob, "/") {
			globs = append(globs, glob)
		}
	}
	return globs
}
