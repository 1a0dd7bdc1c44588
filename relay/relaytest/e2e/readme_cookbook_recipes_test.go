package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
)

// items is JavaScript: the texts of the lines of a list, joined.
func items(id string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#%s li")].map((line) => line.textContent).join()`, id)
}

// tellsOneUser: all tabs of the user show the message, and those of another
// user do not, also without a web server that forwards to the relay.
func tellsOneUser(t *testing.T, r *recipe) {
	send := r.next("php")
	listen := r.settings["SIDECAST_LISTEN"]
	r.add("direct.php", "?>"+strings.NewReplacer(
		"'/sidecast.mjs'", "'http://"+listen+"/sidecast.mjs'", "connect()", "connect('ws://"+listen+"/ws')").Replace(r.unused[0].text))
	r.page()
	r.login(ada, bob)
	first, second, other := r.open(ada), r.open(ada), r.open(bob)
	direct := open(r.ctx, t, "http://"+r.addr+"/direct.php")
	r.awaitSubscriptions(4)
	tell := func(user, text string) {
		r.php(fmt.Sprintf("$user = '%s';\n", user) + strings.Replace(send, "Your order has been shipped.", text, 1))
	}
	tell("42", "<b>one")
	tell("43", "two")
	tell("42", "three")
	browser.Await(first, t, items("notices")+` === "<b>one,three"`)
	browser.Await(second, t, items("notices")+` === "<b>one,three"`)
	browser.Await(other, t, items("notices")+` === "two"`)
	browser.Await(direct, t, items("notices")+` === "two"`)
	later := r.open(ada)
	r.awaitSubscriptions(5)
	tell("42", "four")
	browser.Await(later, t, items("notices")+` === "four"`)
}

// sendsMail: the message to a user who has a page open is shown there, and the
// message to another one is sent by e-mail, once, and shown later.
func sendsMail(t *testing.T, r *recipe) {
	send := r.next("php")
	worker := "function address($user) { return \"$user@example.com\"; }\n" + r.next("php")
	r.page()
	r.login(ada, bob)
	tab := r.open(bob)
	r.awaitSubscriptions(1)
	r.background(worker)
	eventually(t, func() string {
		groups, err := r.redis.TryCLI("XINFO", "GROUPS", "sidecast:events")
		if err != nil || !strings.Contains(groups, "mail") {
			return fmt.Sprintf("the worker has not begun: %v %s", err, groups)
		}
		return ""
	})
	tell := func(user, text string) {
		r.php(fmt.Sprintf("$user = '%s';\n", user) + strings.Replace(send, "You have won.", text, 1))
	}
	tell("43", "<b>one")
	browser.Await(tab, t, items("notices")+` === "<b>one"`)
	tell("42", "two")
	tell("42", "three")
	var sent string
	eventually(t, func() string {
		mails, err := os.ReadFile(r.mails())
		if sent = string(mails); !strings.Contains(sent, "three") {
			return fmt.Sprintf("the e-mails are %q (%v)", mails, err)
		}
		return ""
	})
	if to := strings.Count(sent, "To: 42@example.com"); to != 2 || strings.Count(sent, "To: ") != 2 || !strings.Contains(sent, "two") {
		t.Errorf("the e-mails are %q", sent)
	}
	browser.Await(r.open(ada), t, items("notices")+` === "two,three"`)
}

// chats: both users see who is there, and all lines, also those that were said
// while the relay was restarting. A tab that is opened later shows them, too.
func chats(t *testing.T, r *recipe) {
	r.add("say.php", r.next("php"))
	r.page()
	whoIsThere := r.next("php")
	r.login(ada, bob)
	mine, other := r.open(ada), r.open(bob)
	wantOnline := func(names, ids string) {
		t.Helper()
		browser.Await(mine, t, fmt.Sprintf(`document.getElementById("online").textContent.split(", ").sort().join() === %q`, names))
		if online := r.php(whoIsThere + "sort($online); echo implode(',', $online);"); online != ids {
			t.Errorf("PHP reads that %q are there, want %q", online, ids)
		}
	}
	wantOnline("Ada,Bob", "42,43")
	browser.Do(other, t, chromedp.Navigate("about:blank"))
	wantOnline("Ada", "42")
	other = r.open(bob)
	wantOnline("Ada,Bob", "42,43")

	say := func(text string) { browser.Do(mine, t, chromedp.SendKeys(chromedp.CSS("input"), text+kb.Enter)) }
	const isSent = `document.querySelector("input").value === ""`
	say("<b>hi")
	browser.Await(mine, t, isSent)
	browser.Await(other, t, items("log")+` === "Ada: <b>hi"`)
	r.restartRelay(func() {
		say("missed")
		browser.Await(mine, t, isSent)
	})
	for _, tab := range []context.Context{mine, other, r.open(ada), r.open(bob)} {
		browser.Await(tab, t, items("log")+` === "Ada: <b>hi,Ada: missed"`)
	}

	const answers = `performance.getEntriesByType("resource").filter((e) => e.name.endsWith("say.php")).length`
	r.redis.Kill()
	say("kept")
	browser.Await(mine, t, answers+` === 3`)
	browser.Await(mine, t, `document.querySelector("input").value === "kept"`)
}

// sparesTheSender: each tab shows each task once, although both tabs receive the
// messages of both.
func sparesTheSender(t *testing.T, r *recipe) {
	r.add("add.php", r.next("php"))
	r.page()
	r.login(ada, bob)
	mine, other := r.open(ada), r.open(bob)
	r.awaitSubscriptions(2)
	browser.Do(mine, t, chromedp.SendKeys(chromedp.CSS("input"), "<b>one"+kb.Enter))
	browser.Await(other, t, items("tasks")+` === "<b>one"`)
	browser.Do(other, t, chromedp.SendKeys(chromedp.CSS("input"), "two"+kb.Enter))
	browser.Await(mine, t, items("tasks")+` === "<b>one,two"`) // its own message arrived before
	browser.Do(mine, t, chromedp.SendKeys(chromedp.CSS("input"), "three"+kb.Enter))
	browser.Await(other, t, items("tasks")+` === "<b>one,two,three"`)
}

// showsWhoTypes: another user sees the id for a while, and only that of the user
// who types.
func showsWhoTypes(t *testing.T, r *recipe) {
	r.page()
	r.login(ada, bob)
	mine, other := r.open(ada), r.open(bob)
	r.awaitSubscriptions(2)
	for _, tab := range []context.Context{mine, other} {
		browser.Eval[chromedp.Void](tab, t, `
			globalThis.shown = [];
			new MutationObserver(() => shown.push(document.getElementById("typing").textContent))
				.observe(document.getElementById("typing"), { childList: true }); undefined`)
	}
	browser.Do(mine, t, chromedp.SendKeys(chromedp.CSS("input"), "hello"))
	browser.Await(other, t, `shown[0] === "42 is typing" && shown.at(-1) === ""`)
	browser.Do(other, t, chromedp.SendKeys(chromedp.CSS("input"), "hi"))
	browser.Await(mine, t, `shown[0] === "43 is typing"`)
	anonymous := dial(t, &relaytest.Dialer{URL: r.relay.URL()})
	if _, err := anonymous.Publish(t.Context(), "typing:7", []byte("typing")); err == nil {
		t.Error("a client without a login may publish")
	}
}

// logsOut: all pages of the user load again, without the login, and those of
// another user stay. The user can log in again.
func logsOut(t *testing.T, r *recipe) {
	r.add("logout.php", r.next("php"))
	r.page()
	r.login(ada, bob)
	first, second, other := r.open(ada), r.open(ada), r.open(bob)
	r.awaitSubscriptions(6) // each page has the channel of its user, too
	says := func(state string) string {
		return fmt.Sprintf(`document.querySelector("p").textContent.startsWith("You are logged %s.")`, state)
	}
	browser.Do(first, t, chromedp.Click(chromedp.CSS("button")))
	browser.Await(first, t, says("out"))
	browser.Await(second, t, says("out"))
	r.awaitSubscriptions(2)
	browser.Await(other, t, says("in"))
	r.login(ada)
	browser.Await(r.open(ada), t, says("in"))
	r.awaitSubscriptions(4)
}

// showsProgress: the bar follows the job, although Redis is down while a part
// of the rows is imported. A tab that is opened later shows the end.
func showsProgress(t *testing.T, r *recipe) {
	job := r.onRedis(r.next("php"))
	r.page()
	r.login(ada)
	tab := r.open(ada)
	r.awaitSubscriptions(1)
	const bar = `document.getElementById("bar").value`
	steps := t.TempDir()
	wait := r.start(r.script(fmt.Sprintf(`$user = '42'; $job = 7; $rows = range(1, 400);
		function import($row) {
			if ($row %% 100 !== 1) return;
			for (touch("%[1]s/at$row"); !file_exists("%[1]s/go$row"); clearstatcache()) usleep(10000);
		}`, steps) + "\n" + job))
	at := func(row int) {
		eventually(t, func() string {
			if _, err := os.Stat(filepath.Join(steps, fmt.Sprintf("at%d", row))); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	proceed := func(row int) {
		if err := os.WriteFile(filepath.Join(steps, fmt.Sprintf("go%d", row)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	proceed(1)
	at(101)
	browser.Await(tab, t, bar+` === 25`)
	const up = "sidecast_redis_up"
	r.redis.Kill()
	awaitMetric(t, r.relay, up, func(value float64) bool { return value == 0 })
	proceed(101)
	at(201)
	r.redis.Restart()
	awaitMetric(t, r.relay, up, func(value float64) bool { return value == 1 })
	proceed(201)
	at(301)
	browser.Await(tab, t, bar+` === 75`)
	browser.Await(r.open(ada), t, bar+` === 75`)
	proceed(301)
	browser.Await(tab, t, bar+` === 100`)
	if out := wait(); out != "" {
		t.Errorf("the job printed %q", out)
	}
	stranger := dial(t, &relaytest.Dialer{URL: r.relay.URL()})
	if err := stranger.Subscribe(t.Context(), "job:42:7"); err == nil {
		t.Error("a client without the login may follow the job")
	}
}

// counts: all pages show each number, and the right one after an outage,
// although its message is lost.
func counts(t *testing.T, r *recipe) {
	like := r.next("php")
	r.add("like.php", like)
	r.add("likes.php", r.next("php"))
	r.page()
	r.redis.CLI("SET", "likes:7", "5")
	mine, other := r.open(ada), r.open(bob)
	const shown = `document.getElementById("likes").textContent`
	browser.Await(mine, t, shown+` === "5"`)
	browser.Await(other, t, shown+` === "5"`)
	browser.Do(mine, t, chromedp.Click(chromedp.CSS("button")))
	browser.Await(other, t, shown+` === "6"`)
	var scripts []func() string
	for range 3 {
		scripts = append(scripts, r.start(r.script("for ($i = 0; $i < 100; $i++) {\n"+like+"}")))
	}
	for _, wait := range scripts {
		wait()
	}
	browser.Await(mine, t, shown+` === "306"`)
	browser.Await(other, t, shown+` === "306"`)
	r.redis.CLI("SET", "likes:7", "1000")
	r.redis.CLI("SAVE")
	r.redis.Kill()
	r.redis.Restart()
	browser.Await(mine, t, shown+` === "1000"`)
	browser.Await(other, t, shown+` === "1000"`)
}

// A model is an API that answers with an event stream as OpenAI's does: each
// token is sent when the test allows it.
type model struct {
	tokens  chan string
	request map[string]any // the body of the last request
	key     string
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.key = r.Header.Get("Authorization")
	_ = json.NewDecoder(r.Body).Decode(&m.request)
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, `data: {"choices":[{"delta":{"role":"assistant"}}]}`+"\n\n")
	for {
		var token string
		select {
		case token = <-m.tokens:
		case <-r.Context().Done():
			return
		}
		if token == "" {
			break
		}
		text, _ := json.Marshal(token)
		fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%s}}]}\n\n", text)
		_ = http.NewResponseController(w).Flush()
	}
	fmt.Fprint(w, `data: {"choices":[{"delta":{}}]}`+"\n\n"+"data: [DONE]\n\n")
}

// streamsAnswer: the page shows the words while the model sends them, also
// after a reload and a restart of the relay.
func streamsAnswer(t *testing.T, r *recipe) {
	api := &model{tokens: make(chan string)}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	send := func(token string) {
		t.Helper()
		select {
		case api.tokens <- token:
		case <-time.After(relaytest.Patience):
			t.Fatal("the worker does not read the answer")
		}
	}
	worker := r.next("php")
	r.page()
	r.login(ada)
	const shown = `document.getElementById("answer").textContent`
	tab := r.open(ada)
	r.awaitSubscriptions(1)
	wait := r.start(r.script(fmt.Sprintf(
		"$api = '%s'; $key = 'secret'; $model = 'a model'; $question = 'a question'; $user = '42'; $id = 7;\n%s", server.URL, worker)))
	send("Hello")
	send(", <b>w\u00f6rld")
	browser.Await(tab, t, shown+` === "Hello, <b>w\u00f6rld"`)
	browser.Do(tab, t, chromedp.Reload())
	browser.Await(tab, t, shown+` === "Hello, <b>w\u00f6rld"`)
	r.restartRelay(func() { send("!\n") })
	send("0")
	browser.Await(tab, t, shown+` === "Hello, <b>w\u00f6rld!\n0"`)
	send("") // the end
	if out := wait(); out != "" {
		t.Errorf("the worker printed %q", out)
	}
	later := r.open(ada)
	browser.Await(later, t, shown+` === "Hello, <b>w\u00f6rld!\n0"`)
	r.awaitSubscriptions(0) // both pages have closed the channel
	if api.key != "Bearer secret" || api.request["stream"] != true || api.request["model"] != "a model" {
		t.Errorf("the API received %v with %q", api.request, api.key)
	}
	if ttl := r.redis.CLI("TTL", "answer:42:7"); len(ttl) != len("3600") {
		t.Errorf("the stream expires in %q", ttl)
	}
}

// publishesWithoutExtension runs PHP without its configuration, and so without
// extensions.
func publishesWithoutExtension(t *testing.T, r *recipe) {
	r.login(ada)
	r.write("page.php", `<script type="module">
		import { connect } from '/sidecast.mjs'
		connect().channel('user:42').on('message', (m) => { globalThis.received = m.json().text })
	</script>`)
	tab := r.open(ada)
	r.awaitSubscriptions(1)
	php := exec.CommandContext(t.Context(), "php", "-n")
	php.Stdin = strings.NewReader(onPort(t, r.next("php"), "tcp://127.0.0.1:6379", r.redis.Addr))
	if out, err := php.CombinedOutput(); err != nil || string(out) != ":1\r\n" {
		t.Errorf("php printed %q (%v)", out, err)
	}
	browser.Await(tab, t, `received === "Your order has been shipped."`)
}
