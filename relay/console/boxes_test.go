package console_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sidecast/relay/admin"
	"sidecast/relay/relaytest/browser"
)

// The boxes for why and trace send their questions, with times of day in the
// browser's time zone, and show the answers as text, whatever it is.
func TestWhyAndTrace(t *testing.T) {
	behind, err := url.Parse(serve(t, admin.Console{}))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked url.Values // guarded by mu
	mux := http.NewServeMux()
	mux.Handle("/", httputil.NewSingleHostReverseProxy(behind))
	mux.HandleFunc("/why", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = r.URL.Query()
		mu.Unlock()
		if r.URL.Query().Get("channel") == "refused" {
			http.Error(w, "<b>no</b>", http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, `{"at":"2026-11-27T10:42:13Z","session":"ABC","user":"<b>42</b>","result":"late","text":"It subscribed later.","do":"Subscribe with last."}`+
			"\n\n"+`{"result":"no_message","text":"<img src=x onerror=alert(1)>"}`+"\nnot JSON\n[1]\n"+`{"text":5}`)
	})
	mux.HandleFunc("/trace", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": a comment\n\ndata: {\"kind\":\"start\"}\n\n"+
			`data: {"kind":"message","channel":"chat","size":2048,"listeners":3,"protocols":{"sidecast.v1":2,"raw":1}}`+"\n\n"+
			`data: {"kind":"refused","channel":"<b>chat</b>","listeners":0,"user":"<i>42</i>","reason":"forbidden","command":"subscribe"}`+"\n\n"+
			`data: {"kind":"refused","channel":"a\u202e\nb","listeners":0,"reason":"forbidden"}`+"\n\n"+
			`data: {"kind":"constructor"}`+"\n\n"+"event: message\ndata: plain <b>text</b>\ndata: of two lines\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(server.URL+"/console"))
	browser.Await(ctx, t, live)

	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, tt := range []struct {
		channel, at, user string
		want              int64 // in the middle of what is asked about
	}{
		{"chat &=ü", past.Format("15:04:05"), "42", past.UnixMilli()},
		{"chat", past.Format("15:04:05") + ".25", "", past.UnixMilli() + 250},
		{"chat", past.Add(2 * time.Hour).Format("15:04:05"), "", past.Add(2*time.Hour).AddDate(0, 0, -1).UnixMilli()}, // yesterday
		{"chat", "2026-11-27T10:42:13Z", "", 1795776133000},
		{"chat", " 1764240133000", "", 1764240133000},
	} {
		browser.Eval[chromedp.Void](ctx, t, fmt.Sprintf(`document.getElementById("why-answer").textContent = "";
			for (const [id, value] of Object.entries({channel: %q, at: %q, user: %q})) document.getElementById("why-" + id).value = value`, tt.channel, tt.at, tt.user))
		browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("why-user"), kb.Enter))
		browser.Await(ctx, t, `document.getElementById("why-answer").textContent === "5 answers" && document.querySelector("#why button").textContent === "Ask"`)
		mu.Lock()
		if asked.Get("channel") != tt.channel || asked.Get("from") != fmt.Sprint(tt.want-2000) || asked.Get("to") != fmt.Sprint(tt.want+2000) ||
			asked.Get("user") != tt.user || asked.Has("user") != (tt.user != "") {
			t.Errorf("%+v: the relay was asked %v", tt, asked)
		}
		mu.Unlock()
	}
	for _, wrong := range []string{"99:99", "yesterday", "12", "2026-99-99T10:00"} {
		browser.Eval[chromedp.Void](ctx, t, fmt.Sprintf(`document.getElementById("why-answer").textContent = "";
			document.getElementById("why-at").value = %q; document.querySelector("#why button").click()`, wrong))
		browser.Await(ctx, t, `document.getElementById("why-answer").textContent.startsWith("write the time like 10:42:13")`)
	}
	browser.Eval[chromedp.Void](ctx, t, `document.getElementById("why-at").value = "10:42"; document.querySelector("#why button").click()`)
	browser.Await(ctx, t, `document.getElementById("why-answer").textContent === "5 answers"`)
	got := browser.Eval[[]string](ctx, t, rows("why-log"))
	for i, want := range []string{
		"user <b>42</b>, session ABC: It subscribed later.\n→ Subscribe with last.", "<img src=x onerror=alert(1)>", "not JSON", "[1]", `{"text":5}`,
	} {
		if i >= len(got) || got[i] != want {
			t.Errorf("answer %d of %q is not %q", i, got, want)
		}
	}
	wantNoProblems(ctx, t)
	browser.Eval[chromedp.Void](ctx, t, `document.getElementById("why-channel").value = "refused"; document.querySelector("#why button").click()`)
	browser.Await(ctx, t, `document.getElementById("why-answer").textContent === "<b>no</b>" && document.getElementById("why-log").hidden`)
	browser.Forget(ctx) // the browser reports the status

	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("trace-channel"), "chat"+kb.Enter))
	browser.Await(ctx, t, rows("trace-log")+`.join("|") === `+quoted(
		"the relay follows the channel from now on", "message of 2 KiB to 3 clients (2 sidecast.v1, 1 raw)",
		"on <b>chat</b>: a client was refused: subscribe, forbidden (user <i>42</i>)",
		`on a\u202e\u000ab: a client was refused: forbidden`, `{"kind":"constructor"}`, "plain <b>text</b>\nof two lines"))
	browser.Do(ctx, t, chromedp.Click(chromedp.CSS("#trace button")))
	browser.Await(ctx, t, `document.getElementById("trace-answer").textContent === "stopped"`)
	wantNoProblems(ctx, t)
}

// The answers with which something went wrong come first, and those that do not
// fit are omitted.
func TestManyAnswers(t *testing.T) {
	behind, err := url.Parse(serve(t, admin.Console{}))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", httputil.NewSingleHostReverseProxy(behind))
	mux.HandleFunc("/why", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 1000 {
			fmt.Fprintf(w, "{\"text\":\"answer %d\"}\n", i+1)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(server.URL+"/console"))
	browser.Await(ctx, t, live)
	browser.Eval[chromedp.Void](ctx, t, `for (const [id, value] of Object.entries({channel: "chat", at: "10:42"})) document.getElementById("why-" + id).value = value;
		document.querySelector("#why button").click()`)
	browser.Await(ctx, t, `document.getElementById("why-answer").textContent === "1000 answers, of which the first 200 are shown"`)
	got := browser.Eval[[]string](ctx, t, rows("why-log"))
	if len(got) != 200 || got[0] != "answer 1" || got[199] != "answer 200" {
		t.Errorf("%d answers, the first %q", len(got), got[:1])
	}
	if top := browser.Eval[float64](ctx, t, `document.getElementById("why-log").scrollTop`); top != 0 {
		t.Errorf("the log is scrolled by %v", top)
	}
	wantNoProblems(ctx, t)
}

// quoted returns a JavaScript expression for these texts, with a bar between two.
func quoted(texts ...string) string {
	literal, err := json.Marshal(strings.Join(texts, "|"))
	if err != nil {
		panic(err)
	}
	return string(literal)
}
