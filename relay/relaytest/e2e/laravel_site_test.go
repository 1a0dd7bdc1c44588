package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/npm"
	"sidecast/relay/relaytest/redistest"
)

const (
	laravelKey    = "app-key"
	laravelSecret = "a-secret-of-20-bytes"
	laravelPrefix = "laravel-database-"
)

// laravelPackages are the newest releases, as an application installs them.
var laravelPackages = []string{
	"pusher-js@latest", "laravel-echo@latest", "@laravel/echo-react@latest", "@laravel/echo-vue@latest",
	"react@19", "react-dom@19", "vue@3", "esbuild@latest",
}

// A laravelSite is an application in PHP that broadcasts as Laravel does, and two
// relays, at one address: HAProxy.
type laravelSite struct {
	t      *testing.T
	driver string // redis or reverb
	dir    string
	url    string
	redis  *redistest.Server
	addrs  [2]string // of the relays
	relays [2]*relaytest.Process
	more   map[string]string // settings of the relays
}

// buildLaravelPages installs the packages, and builds the scripts of the pages and
// the one for Node.
func buildLaravelPages(t *testing.T) (dir string) {
	t.Helper()
	dir = npm.Install(t, laravelPackages...)
	sources, err := filepath.Glob("testdata/laravel/*.js*")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(source)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := func(arguments ...string) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "node_modules/.bin/esbuild"), append(arguments, "--bundle", "--outdir=built", "--log-level=error")...)
		cmd.Dir = dir
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("esbuild %q: %v\n%s", arguments, err, output)
		}
	}
	build("echo.js", "react.jsx", "vue.js", "--alias:the-pusher=pusher-js/with-encryption", "--jsx=automatic")
	build("node.js", "--alias:the-pusher=pusher-js", "--platform=node", "--format=esm", "--out-extension:.js=.mjs",
		`--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`)
	return filepath.Join(dir, "built")
}

// newLaravelSite runs the application with a broadcast driver. pages is the
// directory of the built scripts.
func newLaravelSite(t *testing.T, driver, pages string, more map[string]string) *laravelSite {
	t.Helper()
	requirePHP(t)
	s := &laravelSite{t: t, driver: driver, dir: t.TempDir(), redis: redistest.Start(t)}
	scripts, err := filepath.Glob(filepath.Join(pages, "*.js"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(scripts, "testdata/laravel/index.php") {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s.write(filepath.Base(file), content)
	}
	proxy := redistest.FreeAddr(t)
	settings, err := json.Marshal(map[string]string{
		"driver": driver, "redisPort": s.redis.Port(), "prefix": laravelPrefix,
		"key": laravelKey, "secret": laravelSecret, "appID": "app", "api": "http://" + proxy,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.write("settings.json", settings)
	php := servePHP(t, s.dir)
	s.url = "http://" + proxy
	s.more = map[string]string{}
	if driver == "redis" {
		s.more["SIDECAST_BROADCAST_AUTH_URL"] = "http://" + php + "/broadcasting/auth"
	}
	maps.Copy(s.more, more)
	for i := range s.relays {
		s.addrs[i] = redistest.FreeAddr(t)
		s.startRelay(i)
	}
	forRelays := "/app/ /apps/"
	if driver == "redis" {
		forRelays += " /broadcasting/auth"
	}
	runHAProxy(t, haproxyFor(redistest.FreeAddr(t), s.addrs[:]...)+fmt.Sprintf(
		"frontend site\n\tbind %s\n\tuse_backend relays if { path_beg %s }\n\tdefault_backend php\n"+
			"backend php\n\tserver php %s\n", proxy, forRelays, php))
	s.relays[0].AwaitStatus(s.url+"/?script=none", http.StatusOK)
	return s
}

func (s *laravelSite) write(name string, content []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// startRelay runs a relay with the settings for Laravel.
func (s *laravelSite) startRelay(i int) {
	s.t.Helper()
	settings := map[string]string{
		"SIDECAST_LISTEN": s.addrs[i], "SIDECAST_REDIS_URL": s.redis.URL(),
		"SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "*", "SIDECAST_CHANNEL_PREFIX": laravelPrefix,
		"SIDECAST_PUSHER_APP_ID": "app", "SIDECAST_PUSHER_KEY": laravelKey, "SIDECAST_PUSHER_SECRET": laravelSecret,
		"SIDECAST_DRAIN_DELAY": "0s", "SIDECAST_DRAIN_TIMEOUT": "2s",
	}
	maps.Copy(settings, s.more)
	s.relays[i] = start(s.t, settings)
}

// restartRelay waits until a relay has stopped and runs it again.
func (s *laravelSite) restartRelay(i int) {
	s.t.Helper()
	<-s.relays[i].Exited()
	s.startRelay(i)
}

// port returns the port of an address.
func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// holder returns the index of the relay to which the only client is connected.
func (s *laravelSite) holder() int {
	s.t.Helper()
	for i, relay := range s.relays {
		if total(s.t, relay, `sidecast_connections{`) > 0 {
			return i
		}
	}
	s.t.Fatal("no relay has a client")
	return 0
}

// broadcast lets the application broadcast an event.
func (s *laravelSite) broadcast(event, data string, channels ...string) {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"event": event, "data": json.RawMessage(data), "channels": channels})
	if err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, func() string {
		response, err := http.Post(s.url+"/broadcast", "application/json", bytes.NewReader(body))
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			return fmt.Sprintf("the application answers %s (%v): %s", response.Status, err, answer)
		}
		return ""
	})
}

// awaitMembers waits until exactly these users are members of a channel in Redis.
func (s *laravelSite) awaitMembers(channel string, want ...string) {
	s.t.Helper()
	eventually(s.t, func() string {
		got := strings.Fields(s.redis.CLI("ZRANGEBYSCORE", laravelPrefix+"sidecast:presence:"+channel, fmt.Sprint(time.Now().Unix()), "+inf"))
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Sprintf("the members are %q, want %q", got, want)
		}
		return ""
	})
}
