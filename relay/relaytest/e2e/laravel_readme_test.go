package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/npm"
	"sidecast/relay/relaytest/redistest"
)

// A laravelGuide is relay/pusher/README.md: its snippets, by the names in the
// comments around them.
type laravelGuide map[string]string

var namedSnippet = regexp.MustCompile("(?s)<!-- (\\S+) -->\n```\\w+\n(.*?)```\n<!-- /(\\S+) -->")

func readLaravelGuide(t *testing.T) laravelGuide {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "relay/pusher/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	guide := make(laravelGuide)
	for _, found := range namedSnippet.FindAllStringSubmatch(string(text), -1) {
		if found[1] != found[3] {
			t.Errorf("the snippet %s ends as %s", found[1], found[3])
		}
		guide[found[1]] = found[2]
	}
	if fences := strings.Count(string(text), "\n```") / 2; fences != len(guide) {
		t.Errorf("of %d snippets, %d have names", fences, len(guide))
	}
	return guide
}

// TestLaravelInFiveMinutes: the snippets of the guide for Laravel work together.
// The tests of relay/pusher run those with the names broadcast.env and nginx.conf.
func TestLaravelInFiveMinutes(t *testing.T) {
	t.Parallel()
	guide := readLaravelGuide(t)
	known := []string{
		"laravel.env", "echo.js", "sidecast.env", "docker", "event.php", "app.js", "connector.js",
		"redis.env", "broadcasting.php", "broadcast.env", "nginx.conf",
	}
	for name := range guide {
		if !slices.Contains(known, name) {
			t.Errorf("no test runs the snippet %s", name)
		}
	}
	requirePHP(t)
	server := redistest.Start(t)
	addr := runsInDocker(t, guide, server)
	app := newGuideApp(t, guide, addr)
	ctx := browser.Start(t)

	t.Run("the first event", func(t *testing.T) {
		app.build(t, "app.js", guide["app.js"])
		tab := app.open(ctx, t)
		browser.Await(tab, t, `Echo.connector.pusher.channel("orders").subscribed`)
		app.ship(t)
		browser.Await(tab, t, `document.getElementById("orders").textContent === "Order 7 has been shipped."`)
	})
	t.Run("sidecast-echo.js", func(t *testing.T) {
		script := onPort(t, guide["connector.js"], "localhost:8080", addr)
		app.build(t, "app.js", "globalThis.printed = []; console.log = (text) => printed.push(text)\n"+script+
			"window.Echo.channel('orders').subscribed(() => { globalThis.subscribed = true })\n")
		tab := app.open(ctx, t)
		browser.Await(tab, t, `globalThis.subscribed`)
		app.ship(t)
		browser.Await(tab, t, `printed[0] === 7`)
	})
	t.Run("the driver redis", func(t *testing.T) {
		app.write(t, "broadcasting.php", "<?php return [\n"+guide["broadcasting.php"]+"];")
		var connections map[string]map[string]string
		if err := json.Unmarshal([]byte(get(t, app.url+"config")), &connections); err != nil {
			t.Fatal(err)
		}
		chosen := dotenv(guide["redis.env"])["BROADCAST_CONNECTION"]
		if got := connections[chosen]; got["driver"] != "redis" || got["connection"] != "default" {
			t.Errorf("the connection %q is %v", chosen, got)
		}
	})
}

// dotenv returns those that an environment file of Laravel sets.
func dotenv(text string) map[string]string {
	env := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(name, "#") {
			env[name] = os.Expand(strings.Trim(value, `"`), func(name string) string { return env[name] })
		}
	}
	return env
}

// runsInDocker runs the relay as the guide does, and returns its address. The
// program docker is a script that passes the variables of the file to the binary.
func runsInDocker(t *testing.T, guide laravelGuide, server *redistest.Server) (addr string) {
	t.Helper()
	s, dir := newShell(t, nil), t.TempDir()
	file := filepath.Join(dir, "sidecast.env")
	content := onPort(t, guide["sidecast.env"], "redis://127.0.0.1:6379", server.Addr)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	executable(t, filepath.Join(dir, "docker"), fmt.Sprintf(
		"[ \"$*\" = 'run --rm --network host --env-file sidecast.env sidecast' ] || exit 9\n"+
			"set -f\nexport $(cat '%s')\nexec sidecast\n", file))
	for i, variable := range s.env {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok {
			s.env[i] = "PATH=" + dir + string(os.PathListSeparator) + path
		}
	}
	url := s.start(strings.TrimSpace(guide["docker"]))
	return strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws")
}

// A guideApp is an application with the snippets of the guide. PHP without
// Laravel plays the part of Laravel, and esbuild that of Vite.
type guideApp struct {
	dir string // of the application
	npm string // of the packages
	url string
	env map[string]string
}

// newGuideApp runs the application for a relay at an address.
func newGuideApp(t *testing.T, guide laravelGuide, relay string) *guideApp {
	t.Helper()
	client, err := filepath.Abs(filepath.Join(root, "relay/web/client"))
	if err != nil {
		t.Fatal(err)
	}
	app := &guideApp{dir: t.TempDir(), npm: npm.Install(t, append(slices.Clone(laravelPackages), client)...)}
	app.env = dotenv(strings.Replace(guide["laravel.env"], "PORT=8080", "PORT="+port(relay), 1))
	env, err := json.Marshal(app.env)
	if err != nil {
		t.Fatal(err)
	}
	framework, err := os.ReadFile("testdata/framework.php")
	if err != nil {
		t.Fatal(err)
	}
	app.write(t, "env.json", string(env))
	app.write(t, "index.php", string(framework))
	app.write(t, "event.php", guide["event.php"])
	if err := os.WriteFile(filepath.Join(app.npm, "echo.js"), []byte(guide["echo.js"]), 0o600); err != nil {
		t.Fatal(err)
	}
	// The page has the host name of the relay, as the guide says.
	app.url = "http://" + app.env["VITE_REVERB_HOST"] + ":" + port(servePHP(t, app.dir)) + "/"
	return app
}

func (a *guideApp) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// build bundles a script for the page.
func (a *guideApp) build(t *testing.T, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.npm, name), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	arguments := []string{name, "--bundle", "--outdir=" + a.dir, "--log-level=error"}
	for variable, value := range a.env {
		if strings.HasPrefix(variable, "VITE_") {
			arguments = append(arguments, fmt.Sprintf("--define:import.meta.env.%s=%q", variable, value))
		}
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(a.npm, "node_modules/.bin/esbuild"), arguments...)
	cmd.Dir = a.npm
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("esbuild %q: %v\n%s", arguments, err, output)
	}
}

// open opens the page in a new tab.
func (a *guideApp) open(ctx context.Context, t *testing.T) context.Context {
	t.Helper()
	return open(ctx, t, a.url)
}

// ship lets the application broadcast its event until Redis has it, which has a
// second for that.
func (a *guideApp) ship(t *testing.T) {
	t.Helper()
	eventually(t, func() string {
		response, err := http.Get(a.url + "ship")
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return response.Status
		}
		return ""
	})
}
