package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

// A phpSite is an application in PHP with a database, a Redis and a relay, as
// the recipes of the README assume them.
type phpSite struct {
	t        testing.TB
	dir      string // its scripts and its database
	addr     string // of the web server
	redis    *redistest.Server
	relay    *relaytest.Process
	settings map[string]string // of the relay; its address does not change
	prelude  string            // the lines with which its scripts begin
}

func newPHPSite(t testing.TB, tables string) *phpSite {
	t.Helper()
	requirePHP(t, "pdo_sqlite")
	s := &phpSite{t: t, dir: t.TempDir(), redis: redistest.Start(t)}
	s.settings = map[string]string{"SIDECAST_LISTEN": redistest.FreeAddr(t), "SIDECAST_DURABLE_CHANNELS": "orders"}
	s.relay = startRelay(t, s.redis, s.settings)
	s.prelude = fmt.Sprintf("<?php\n$redis = new Redis();\n$redis->connect('127.0.0.1', %s);\n", s.redis.Port()) + s.opensDB()
	s.sql("PRAGMA journal_mode = WAL; " + tables)
	s.addr = servePHP(t, s.dir)
	return s
}

// restartRelay kills the relay and runs another one at its address.
func (s *phpSite) restartRelay() {
	s.t.Helper()
	s.relay.Kill()
	s.relay = startRelay(s.t, s.redis, s.settings)
}

// servePHP runs PHP's web server, configured as in production: errors are not
// shown.
func servePHP(t testing.TB, dir string) (addr string) {
	t.Helper()
	addr = redistest.FreeAddr(t)
	server := exec.Command("php", "-d", "display_errors=0", "-d", "session.save_path="+t.TempDir(), "-S", addr, "-t", dir)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	eventually(t, func() string {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err.Error()
		}
		_ = conn.Close()
		return ""
	})
	return addr
}

// script returns a script that begins with the site's prelude, such as one that
// opens $redis and $db.
func (s *phpSite) script(code string) string {
	return s.prelude + strings.TrimPrefix(code, "<?php")
}

// mails is the file with all e-mails that scripts have sent.
func (s *phpSite) mails() string { return filepath.Join(s.dir, "mails") }

func (s *phpSite) opensDB() string {
	return fmt.Sprintf("$db = new PDO('sqlite:%s');\n$db->exec('PRAGMA busy_timeout = 30000');\n", filepath.Join(s.dir, "database"))
}

// sql executes statements.
func (s *phpSite) sql(statements string) {
	s.t.Helper()
	s.start("<?php\n" + s.opensDB() + "$db->exec('" + statements + "');")()
}

// add writes a script into the site.
func (s *phpSite) add(name, code string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(s.script(code)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// php runs a script to its end and returns its output.
func (s *phpSite) php(code string) string {
	s.t.Helper()
	return s.start(s.script(code))()
}

// start runs a script. The function that it returns waits until it has ended,
// and returns its output.
func (s *phpSite) start(script string) (wait func() string) {
	s.t.Helper()
	cmd, out := s.run(script)
	return func() string {
		s.t.Helper()
		if err := cmd.Wait(); err != nil {
			s.t.Fatalf("php: %v\n%s", err, out)
		}
		return out.String()
	}
}

// background runs a script of the site until the test ends. It must not print
// anything.
func (s *phpSite) background(code string) {
	s.t.Helper()
	cmd, out := s.run(s.script(code))
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if out.Len() > 0 {
			s.t.Errorf("the script in the background printed %q", out)
		}
	})
}

func (s *phpSite) run(script string) (*exec.Cmd, *strings.Builder) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "php", "-d", "session.save_path="+s.t.TempDir(),
		"-d", "sendmail_path=cat >>'"+s.mails()+"'")
	cmd.Stdin = strings.NewReader(script)
	out := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return cmd, out
}

// write changes random rows with the code, which gets $id and $i, until the
// function that it returns is called. The last change is complete then.
func (s *phpSite) write(code string) (stop func()) {
	s.t.Helper()
	end := filepath.Join(s.t.TempDir(), "end")
	wait := s.start(s.script(fmt.Sprintf("for ($i = 0; !file_exists('%s'); $i++) {\n$id = rand(1, 20);\n%s\n}", end, code)))
	return func() {
		s.t.Helper()
		if err := os.WriteFile(end, nil, 0o600); err != nil {
			s.t.Fatal(err)
		}
		if out := wait(); out != "" {
			s.t.Errorf("the script that writes printed %q", out)
		}
	}
}

// page opens a page of the site in a new tab.
func (s *phpSite) page(ctx context.Context, name string) context.Context {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	return open(ctx, s.t, "http://localhost:"+port+"/"+name)
}

// rendersWithoutRace opens pages while rows and the stream change, and while the
// relay restarts. In the end, each page shows the table, and then a new row.
// Between the two reads of a page, and between the two writes, there is time for
// other changes.
func rendersWithoutRace(t *testing.T, _ string) {
	s := newPHPSite(t, "CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT); "+
		"WITH RECURSIVE ids(id) AS (SELECT 1 UNION SELECT id + 1 FROM ids LIMIT 20) INSERT INTO orders SELECT id, 0 FROM ids")
	page := onPort(t, snippet(t, "php", rendersRows), "localhost:8080", s.relay.Addr())
	s.add("orders.php", pauseBefore(t, page, "$rows ="))
	ctx := browser.Start(t)
	tabs := []context.Context{s.page(ctx, "orders.php")} // while the stream is empty
	change := snippet(t, "php", changesRow)
	stop := s.write("$state = \"<b>$i\";\n" + pauseBefore(t, change, "$redis->xAdd"))
	for i := range 12 {
		tabs = append(tabs, s.page(ctx, "orders.php"))
		if i == 6 {
			s.restartRelay()
		}
	}
	stop()
	s.wantTable(tabs)
	s.php("$id = 21; $state = 'paid'; $db->exec('INSERT INTO orders (id) VALUES (21)');\n" + change)
	s.wantTable(tabs)
}

// wantTable waits until all pages show the table of orders.
func (s *phpSite) wantTable(tabs []context.Context) {
	s.t.Helper()
	want := s.php(`foreach ($db->query('SELECT id, state FROM orders ORDER BY id') as $row) echo "order-$row[id] $row[state]\n";`)
	if strings.Count(want, "\n") < 20 {
		s.t.Fatalf("the table is:\n%s", want)
	}
	for _, tab := range tabs {
		browser.Await(tab, s.t, fmt.Sprintf(
			`[...document.querySelectorAll("li")].map((row) => row.id + " " + row.textContent + "\n").join("") === %q`, want))
	}
}

// pauseBefore lets a script sleep before the line that begins with start.
func pauseBefore(t testing.TB, script, start string) string {
	t.Helper()
	if strings.Count(script, "\n"+start) != 1 {
		t.Fatalf("no line begins with %s:\n%s", start, script)
	}
	return strings.Replace(script, "\n"+start, "\nusleep(rand(0, 50) * 1000);\n"+start, 1)
}

// loadsWithoutRace opens pages that load their state while it changes. In the
// end, each page shows it, also after a change whose message is lost.
func loadsWithoutRace(t *testing.T, _ string) {
	s := newPHPSite(t, "CREATE TABLE stock (id INTEGER PRIMARY KEY, pieces INTEGER); INSERT INTO stock VALUES (7, -1)")
	s.add("stock.php", snippet(t, "php", answersJSON))
	page := onPort(t, snippet(t, "html", loadsState), "localhost:8080", s.relay.Addr())
	s.add("page.php", "?>"+page)
	ctx := browser.Start(t)
	stop := s.write(`$db->exec("UPDATE stock SET pieces = $i");
		usleep(rand(0, 50) * 1000);
		$redis->publish('stock:7', json_encode(['pieces' => $i]));`)
	var tabs []context.Context
	for range 6 {
		tabs = append(tabs, s.page(ctx, "page.php"))
	}
	stop()
	want := s.php(`echo $db->query('SELECT pieces FROM stock')->fetchColumn();`)
	for _, tab := range tabs {
		browser.Await(tab, t, fmt.Sprintf(`document.getElementById("stock").textContent === %q`, want))
	}
	s.redis.Kill()
	s.sql("UPDATE stock SET pieces = 1000000")
	s.redis.Restart()
	for _, tab := range tabs {
		browser.Await(tab, t, `document.getElementById("stock").textContent === "1000000"`)
	}
}

// TestComposePage: the page of the compose file shows what its form publishes.
func TestComposePage(t *testing.T) {
	t.Parallel()
	s := newPHPSite(t, "")
	page, err := os.ReadFile(filepath.Join(root, "helm/plain/app/index.php"))
	if err != nil {
		t.Fatal(err)
	}
	page = []byte(onPort(t, string(page), "${location.hostname}:8080", s.relay.Addr()))
	page = []byte(strings.Replace(string(page), "tcp://redis:6379", "tcp://"+s.redis.Addr, 1))
	if err := os.WriteFile(filepath.Join(s.dir, "index.php"), page, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := browser.Start(t)
	const lines = `[...document.querySelectorAll("li")].map((line) => line.textContent).join()`
	var tabs []context.Context
	for i := range 2 {
		tabs = append(tabs, s.page(ctx, ""))
		browser.Await(tabs[i], t, `document.querySelector("form").onsubmit`) // its script loads the client first
		said := fmt.Sprintf("<b>%d", i)
		browser.Do(tabs[i], t, chromedp.SendKeys(chromedp.CSS("input"), said+kb.Enter))
		browser.Await(tabs[i], t, lines+fmt.Sprintf(`.endsWith(%q)`, said))
	}
	for _, tab := range tabs {
		browser.Await(tab, t, lines+` === "<b>0,<b>1"`)
	}
}
