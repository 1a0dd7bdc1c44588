package pusher

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/stats"
)

var update = flag.Bool("update", false, "write the golden files")

// list returns n channels as JSON, without the brackets.
func list(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(`"c%d"`, i)
	}
	return strings.Join(names, ",")
}

// requests are those of the golden file: a name, the method and the path below
// /apps/3/, the query, and the body.
var requests = [][4]string{
	{"one channel", "POST events", "", `{"name":"e","channel":"chat","data":"{}"}`},
	{"two channels, in their order", "POST events", "", `{"name":"e","channels":["b","a"],"data":"{}"}`},
	{"a channel twice counts once", "POST events", "", `{"name":"e","channels":["a","b","a"],"channel":"b","data":"{}"}`},
	{"the sender is left out", "POST events", "", `{"name":"e","channels":["a"],"data":"{}","socket_id":"123.456"}`},
	{"nobody is left out", "POST events", "", `{"name":"e","channels":["a"],"data":"{}","socket_id":null}`},
	{"nor with an empty id", "POST events", "", `{"name":"e","channels":["a"],"data":"{}","socket_id":""}`},
	{"the data keep their escapes", "POST events", "", `{"name":"e","channels":["a"],"data":"\u00e4\/ä\ud83d\udc4b \ud800 <b>&"}`},
	{"so does the name", "POST events", "", `{"name":"App\\Events\\\u00c4","channels":["a"],"data":""}`},
	{"a field that is not known", "POST events", "", `{"name":"e","channels":["a"],"data":"{}","tags":{"x":[1]}}`},
	{"the channel of a user", "POST events", "", `{"name":"e","channels":["#server-to-user-42"],"data":"{}"}`},
	{"an encrypted event", "POST events", "", `{"name":"e","channels":["private-encrypted-a"],"data":"{\"nonce\":\"x\",\"ciphertext\":\"y\"}"}`},
	{"a name with 200 bytes", "POST events", "", `{"name":"` + strings.Repeat("n", 200) + `","channels":["a"],"data":""}`},
	{"100 channels", "POST events", "", `{"name":"e","channels":[` + list(100) + `],"data":""}`},
	{"the largest event", "POST events", "", `{"name":"e","channels":["a"],"data":"` + strings.Repeat("x", testMaxPayload-len(`{"event":"e","data":"","socket":null}`)) + `"}`},
	{"with the numbers of subscriptions", "POST events", "", `{"name":"e","channels":["chat","nobody"],"data":"","info":"subscription_count"}`},
	{"with users, of presence channels", "POST events", "", `{"name":"e","channels":["presence-room","chat"],"data":"","info":"user_count, subscription_count"}`},

	{"no name", "POST events", "", `{"channels":["a"],"data":"{}"}`},
	{"an empty name", "POST events", "", `{"name":"","channels":["a"],"data":"{}"}`},
	{"a name that is a number", "POST events", "", `{"name":1,"channels":["a"],"data":"{}"}`},
	{"a name with 201 bytes", "POST events", "", `{"name":"` + strings.Repeat("n", 201) + `","channels":["a"],"data":""}`},
	{"a name of the protocol", "POST events", "", `{"name":"pusher:error","channels":["a"],"data":"{}"}`},
	{"one that is escaped", "POST events", "", `{"name":"pusher\u005finternal:member_added","channels":["a"],"data":"{}"}`},
	{"no data", "POST events", "", `{"name":"e","channels":["a"]}`},
	{"data that are null", "POST events", "", `{"name":"e","channels":["a"],"data":null}`},
	{"data that are an object", "POST events", "", `{"name":"e","channels":["a"],"data":{"a":1}}`},
	{"no channel", "POST events", "", `{"name":"e","data":"{}"}`},
	{"no channels", "POST events", "", `{"name":"e","channels":[],"data":"{}"}`},
	{"101 channels", "POST events", "", `{"name":"e","channels":[` + list(101) + `],"data":""}`},
	{"channels that are a string", "POST events", "", `{"name":"e","channels":"a","data":"{}"}`},
	{"a channel that is a number", "POST events", "", `{"name":"e","channels":["a",7],"data":"{}"}`},
	{"an empty channel", "POST events", "", `{"name":"e","channels":["a",""],"data":"{}"}`},
	{"a channel with 201 bytes", "POST events", "", `{"name":"e","channels":["` + strings.Repeat("c", 201) + `"],"data":"{}"}`},
	{"a channel with a line break", "POST events", "", `{"name":"e","channels":["a\nb"],"data":"{}"}`},
	{"a reserved channel after a good one", "POST events", "", `{"name":"e","channels":["a","sidecast:control"],"data":"{}"}`},
	{"a channel that nobody receives", "POST events", "", `{"name":"e","channels":["a","other"],"data":"{}"}`},
	{"a socket id that is none", "POST events", "", `{"name":"e","channels":["a"],"data":"{}","socket_id":"undefined"}`},
	{"one that is not closed", "POST events", "", `{"name":"e","channels":["a"],"data":"{}","socket_id":"1.1\",\"x\":\""}`},
	{"one with one part", "POST events", "", `{"name":"e","channels":["a"],"data":"{}","socket_id":"123"}`},
	{"one with a line break", "POST events", "", `{"name":"e","channels":["a"],"data":"{}","socket_id":"1.1\n"}`},
	{"one that is too long", "POST events", "", `{"name":"e","channels":["a"],"data":"{}","socket_id":"1.` + strings.Repeat("1", 63) + `"}`},
	{"one that is a number", "POST events", "", `{"name":"e","channels":["a"],"data":"{}","socket_id":1.5}`},
	{"info that does not exist", "POST events", "", `{"name":"e","channels":["a"],"data":"{}","info":"cache"}`},
	{"an event that is too large", "POST events", "", `{"name":"e","channels":["a"],"data":"` + strings.Repeat("x", testMaxPayload) + `"}`},
	{"a body that is too large", "POST events", "", strings.Repeat(" ", testMaxPayload+besidePayload+1)},
	{"no body", "POST events", "", ""},
	{"a body that is no JSON", "POST events", "", "name=e&channel=a&data=x"},
	{"a body that is an array", "POST events", "", `[]`},
	{"a body that is null", "POST events", "", `null`},
	{"half of a body", "POST events", "", `{"name":"e","channels":["a"],"data":"{}"`},
	{"two bodies", "POST events", "", `{"name":"e","channels":["a"],"data":"{}"}{}`},
	{"a body that is not UTF-8", "POST events", "", "{\"name\":\"e\",\"channels\":[\"a\"],\"data\":\"\xff\"}"},

	{"a batch", "POST batch_events", "", `{"batch":[{"name":"e","channel":"a","data":"1"},{"name":"f","channel":"a","data":"2","socket_id":"1.2"}]}`},
	{"a batch with info", "POST batch_events", "",
		`{"batch":[{"name":"e","channel":"chat","data":"","info":"subscription_count"},{"name":"e","channel":"chat","data":""},{"name":"e","channel":"presence-room","data":"","info":"user_count"}]}`},
	{"ten events", "POST batch_events", "", `{"batch":[` + strings.TrimSuffix(strings.Repeat(`{"name":"e","channel":"a","data":""},`, 10), ",") + `]}`},
	{"eleven events", "POST batch_events", "", `{"batch":[` + strings.TrimSuffix(strings.Repeat(`{"name":"e","channel":"a","data":""},`, 11), ",") + `]}`},
	{"an empty batch", "POST batch_events", "", `{"batch":[]}`},
	{"no batch", "POST batch_events", "", `{"name":"e","channel":"a","data":""}`},
	{"a batch that is an object", "POST batch_events", "", `{"batch":{"name":"e","channel":"a","data":""}}`},
	{"an event with channels", "POST batch_events", "", `{"batch":[{"name":"e","channels":["a"],"data":""}]}`},
	{"the tenth event is wrong", "POST batch_events", "", `{"batch":[` + strings.Repeat(`{"name":"e","channel":"a","data":""},`, 9) + `{"name":"e","channel":"a"}]}`},

	{"all channels", "GET channels", "", ""},
	{"by prefix", "GET channels", "filter_by_prefix=presence-", ""},
	{"by a prefix that no channel has", "GET channels", "filter_by_prefix=x", ""},
	{"with users", "GET channels", "filter_by_prefix=presence-&info=user_count", ""},
	{"with subscriptions", "GET channels", "filter_by_prefix=presence-r&info=subscription_count,user_count", ""},
	{"users of other channels", "GET channels", "info=user_count", ""},
	{"other info", "GET channels", "filter_by_prefix=presence-&info=name", ""},
	{"one channel", "GET channels/chat", "", ""},
	{"its subscriptions", "GET channels/chat", "info=subscription_count", ""},
	{"its users", "GET channels/chat", "info=user_count", ""},
	{"a presence channel", "GET channels/presence-room", "info=user_count,subscription_count", ""},
	{"a channel without subscriptions", "GET channels/presence-empty", "info=user_count,subscription_count", ""},
	{"a name with escapes", "GET channels/private-a%20b%26c", "", ""},
	{"a name that no channel has", "GET channels/sidecast:control", "", ""},
	{"a channel that nobody can receive", "GET channels/other", "", ""},
	{"no name", "GET channels/", "", ""},
	{"members", "GET channels/presence-room/users", "", ""},
	{"no members", "GET channels/presence-empty/users", "", ""},
	{"members of another channel", "GET channels/chat/users", "", ""},
	{"members of a channel that nobody can receive", "GET channels/other/users", "", ""},
	{"connections", "GET connections", "", ""},
	{"ending connections", "POST users/42/terminate_connections", "", "{}"},
	{"without a body", "POST users/a%20b/terminate_connections", "", ""},
	{"of a user whose id is too long", "POST users/" + strings.Repeat("u", 129) + "/terminate_connections", "", "{}"},
	{"of no user", "POST users//terminate_connections", "", "{}"},
	{"asking for the connections of a user", "GET users/42/terminate_connections", "", ""},
	{"asking for events", "GET events", "", ""},
	{"posting channels", "POST channels", "", "{}"},
	{"another path", "GET users", "", ""},
	{"no path", "GET ", "", ""},
}

// TestAnswers compares the answers to all kinds of requests with a golden file,
// and what they publish.
func TestAnswers(t *testing.T) {
	var text strings.Builder
	for _, request := range requests {
		var b backend
		method, path, _ := strings.Cut(request[1], " ")
		w := signed(method, "/apps/3/"+path, request[2], request[3]).send(NewAPI(b.config()))
		fmt.Fprintf(&text, "# %s\n%s %s\n%s\n%d %s\n", request[0], short(request[1]), request[2], short(strings.ToValidUTF8(request[3], "?")), w.Code, short(w.Body.String()))
		for _, message := range b.published[:min(3, len(b.published))] {
			fmt.Fprintf(&text, "published %s\n", short(message))
		}
		if n := len(b.published); n > 3 {
			fmt.Fprintf(&text, "published %d messages\n", n)
		}
		for _, user := range b.terminated {
			fmt.Fprintf(&text, "terminated %s\n", user)
		}
		text.WriteString("\n")
		if result := map[int]stats.APIResult{200: stats.APIAccepted, 413: stats.APITooLarge}[w.Code]; w.Code == 200 || w.Code == 413 {
			b.counted(t, result)
		} else {
			b.counted(t, stats.APIInvalid)
			b.wantRefused(t, w, w.Code, "")
		}
	}
	golden := filepath.Join("testdata", "answers.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("the answers have changed; if that is meant, run with -update:\n%s", text.String())
	}
}

// short keeps the golden file readable.
func short(text string) string {
	if end := strings.TrimRight(text, "\n"); len(end) > 400 {
		return end[:200] + "..." + end[len(end)-100:] + text[len(end):]
	}
	return text
}

// If Redis does not accept a message, the answer is 503, and the others are not
// tried. Nothing is answered with 200 that Redis has not accepted. The reason is
// in the log, not in the answer: the text of an error can name servers and keys.
func TestRedisUnavailable(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request *call
		failAt  int // 0: all of Redis is down
		want    []string
		text    string
	}{
		{"the first channel", signed("POST", "/apps/3/events", "", `{"name":"e","channels":["a","b","c"],"data":""}`), 1, nil, `published 0 of 3 messages, and Redis has not confirmed the one on \"a\"`},
		{"the second channel", signed("POST", "/apps/3/events", "", `{"name":"e","channels":["a","b","c"],"data":""}`), 2, []string{"a"}, `published 1 of 3 messages, and Redis has not confirmed the one on \"b\"`},
		{"the last event of a batch", signed("POST", "/apps/3/batch_events", "", `{"batch":[{"name":"e","channel":"a","data":""},{"name":"e","channel":"b","data":""}]}`), 2, []string{"a"}, "published 1 of 2"},
		{"what was asked: nothing is published", signed("POST", "/apps/3/events", "", `{"name":"e","channels":["a"],"data":"","info":"subscription_count"}`), 0, nil, "not known now"},
		{"all channels", signed("GET", "/apps/3/channels", "", ""), 0, nil, "not known now"},
		{"a channel", signed("GET", "/apps/3/channels/chat", "", ""), 0, nil, "not known now"},
		{"members", signed("GET", "/apps/3/channels/presence-room/users", "", ""), 0, nil, "not known now"},
		{"connections", signed("GET", "/apps/3/connections", "", ""), 0, nil, "not known now"},
		{"ending connections", signed("POST", "/apps/3/users/42/terminate_connections", "", "{}"), 0, nil, "not all connections may be closed"},
	} {
		b := &backend{failAt: tt.failAt, down: tt.failAt == 0}
		w := tt.request.send(NewAPI(b.config()))
		if w.Code != 503 || !strings.Contains(w.Body.String(), tt.text) || strings.Contains(w.Body.String(), "redis is unavailable") {
			t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
		}
		if len(b.published) != len(tt.want) || len(b.terminated) > 0 {
			t.Errorf("%s: published %q, terminated %q", tt.name, b.published, b.terminated)
		}
		b.counted(t, stats.APIUnavailable)
		if !strings.Contains(b.log.String(), "redis is unavailable") {
			t.Errorf("%s: logged %s", tt.name, b.log.String())
		}
	}
}

// A relay that does not know something says so, and publishes nothing with a
// request that asks for it.
func TestUnsupported(t *testing.T) {
	for name, request := range map[string]*call{
		"an event with subscriptions": signed("POST", "/apps/3/events", "", `{"name":"e","channels":["a"],"data":"","info":"subscription_count"}`),
		"an event with users":         signed("POST", "/apps/3/events", "", `{"name":"e","channels":["presence-a"],"data":"","info":"user_count"}`),
		"all channels":                signed("GET", "/apps/3/channels", "", ""),
		"a channel":                   signed("GET", "/apps/3/channels/a", "", ""),
		"members":                     signed("GET", "/apps/3/channels/presence-a/users", "", ""),
		"connections":                 signed("GET", "/apps/3/connections", "", ""),
		"ending connections":          signed("POST", "/apps/3/users/1/terminate_connections", "", "{}"),
	} {
		t.Run(name, func(t *testing.T) {
			var b backend
			cfg := b.config()
			cfg.Counts, cfg.Members, cfg.Connections, cfg.Terminate = nil, nil, nil, nil
			b.wantRefused(t, request.send(NewAPI(cfg)), 501, "does not know")
			b.counted(t, stats.APIUnsupported)
		})
	}
}

// The body of a request that the application has not signed is not read, so that
// it costs no memory.
func TestUnsignedBodyIsNotRead(t *testing.T) {
	for name, change := range map[string]func(*call){
		"no signature":    func(c *call) { c.query.Del("auth_signature") },
		"wrong signature": func(c *call) { c.query.Set("auth_signature", "x") },
		"old":             func(c *call) { c.query.Set("auth_timestamp", "1"); c.sign(testApp) },
		"a page":          func(c *call) { c.header.Set("Origin", "http://relay") },
		"another app":     func(c *call) { c.path = "/apps/1/events" },
		"another method":  func(c *call) { c.method = "PUT"; c.sign(testApp) },
		"too large":       func(c *call) { c.header.Set("X-Length", "1000000000") },
	} {
		var b backend
		c := signed("POST", "/apps/3/events", "", documentedBody)
		change(c)
		r := httptest.NewRequest(c.method, "http://relay"+c.target(), failingBody{t})
		r.Header = c.header
		if r.ContentLength = -1; name == "too large" {
			r.ContentLength = 1_000_000_000
		}
		w := httptest.NewRecorder()
		NewAPI(b.config()).ServeHTTP(w, r)
		if w.Code == 200 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// At most 32 requests are carried out at a time. Another one waits for a while,
// and is refused if none of them ends.
func TestRequestsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backend
		cfg, blocked := b.config(), make(chan struct{})
		cfg.Logger = discard
		cfg.Publish = func(ctx context.Context, channel string, payload []byte) error {
			if channel == "slow" {
				<-blocked
			}
			return b.publish(ctx, channel, payload)
		}
		api := NewAPI(cfg)
		var running sync.WaitGroup
		for range maxRequests {
			running.Go(func() {
				if w := signed("POST", "/apps/3/events", "", `{"name":"e","channels":["slow"],"data":""}`).send(api); w.Code != 200 {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		if w := signed("POST", "/apps/3/events", "", documentedBody).send(api); w.Code != 503 || time.Since(began) != timeout {
			t.Errorf("one more: %d %s after %v", w.Code, w.Body, time.Since(began))
		}
		running.Go(func() {
			if w := signed("POST", "/apps/3/events", "", documentedBody).send(api); w.Code != 200 {
				t.Errorf("one more, which waits: %d %s", w.Code, w.Body)
			}
		})
		synctest.Wait()
		close(blocked)
		running.Wait()
	})
}

// A request that waits for its turn has been read: all requests on an HTTP/2
// connection share its window, and those that are carried out need it. Bodies
// that have the size of 32 of the largest ones are in memory at most.
func TestWaitingRequestsAreRead(t *testing.T) {
	for length, want := range map[int64]int{int64(len(documentedBody)): 100, -1: maxRequests} {
		synctest.Test(t, func(t *testing.T) {
			var b backend
			cfg, blocked := b.config(), make(chan struct{})
			cfg.Logger = discard
			cfg.Publish = func(context.Context, string, []byte) error { <-blocked; return nil }
			api := NewAPI(cfg)
			var running sync.WaitGroup
			var read atomic.Int64
			for range 100 {
				body := io.MultiReader(strings.NewReader(documentedBody), endReader{&read})
				r := httptest.NewRequest("POST", signed("POST", "/apps/3/events", "", documentedBody).target(), body)
				r.ContentLength = length
				running.Go(func() { api.ServeHTTP(httptest.NewRecorder(), r) })
			}
			synctest.Wait()
			if n := read.Load(); n != int64(want) {
				t.Errorf("with the length %d, the bodies of %d requests are read, want %d", length, n, want)
			}
			close(blocked)
			running.Wait()
		})
	}
}

// endReader is the end of a body. It counts the bodies that are read.
type endReader struct{ read *atomic.Int64 }

func (r endReader) Read([]byte) (int, error) {
	r.read.Add(1)
	return 0, io.EOF
}

// Refused requests are logged with what to set and without what they contain,
// and cannot fill the disk.
func TestRefusalsInTheLog(t *testing.T) {
	var b backend
	api := NewAPI(b.config())
	for range 1000 {
		c := signed("POST", "/apps/3/events", "secretquery=1", `{"name":"secretname","channels":["secretchannel"],"data":"secretdata"}`)
		c.query.Set("auth_signature", "secretsignature")
		c.send(api)
		c.query.Set("auth_key", "secretkey")
		c.send(api)
		signed("POST", "/apps/3/events", "", `{"name":"e","channels":["sidecast:secret"],"data":""}`).send(api)
	}
	text := b.log.String()
	if n := strings.Count(text, "\n"); n == 0 || n > 60 {
		t.Errorf("3000 requests caused %d lines", n)
	}
	if strings.Contains(text, "secret") || strings.Contains(text, testApp.Key) {
		t.Errorf("logged %.500s", text)
	}
	for _, want := range []string{"result=signature", "set SIDECAST_PUSHER_SECRET", "result=key", "set SIDECAST_PUSHER_KEY", "result=invalid"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not contain %q:\n%.500s", want, text)
		}
	}
}

// FuzzEvents: whatever a signed body contains, the API publishes only envelopes
// that have the texts of the body, and only if it accepts the request.
func FuzzEvents(f *testing.F) {
	for _, request := range requests {
		if strings.HasPrefix(request[1], "POST") && len(request[3]) < 1000 {
			f.Add(strings.HasPrefix(request[1], "POST batch"), request[3])
		}
	}
	f.Fuzz(func(t *testing.T, batch bool, body string) {
		var b backend
		cfg := b.config()
		cfg.Logger = discard
		path := map[bool]string{false: "/apps/3/events", true: "/apps/3/batch_events"}[batch]
		w := signed("POST", path, "", body).send(NewAPI(cfg))
		if (w.Code == 200) != (len(b.published) > 0) || !json.Valid(w.Body.Bytes()) || w.Code > 499 {
			t.Errorf("%d %s, published %q", w.Code, w.Body, b.published)
		}
		for _, message := range b.published {
			channel, payload, _ := strings.Cut(message, "={")
			payload = "{" + payload
			var fields map[string]json.RawMessage
			if json.Unmarshal([]byte(payload), &fields) != nil || len(fields) != 3 || len(payload) > testMaxPayload || channel == "" {
				t.Fatalf("published %q", message)
			}
			if !bytes.Contains([]byte(body), fields["data"]) || !bytes.Contains([]byte(body), fields["event"]) || fields["data"][0] != '"' {
				t.Errorf("published %q for %q", message, body)
			}
		}
	})
}

// A request may wait for its turn and for Redis longer than the server allows:
// the application gets an answer nevertheless.
func TestSlowAnswer(t *testing.T) {
	var b backend
	cfg := b.config()
	w := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
	var left time.Duration
	cfg.Connections = func(context.Context) (int, error) {
		left = time.Until(w.deadline)
		return 0, errDown
	}
	NewAPI(cfg).ServeHTTP(w, httptest.NewRequest(http.MethodGet, signed("GET", "/apps/3/connections", "", "").target(), nil))
	if w.Code != http.StatusServiceUnavailable || left < 3*timeout {
		t.Errorf("%d, with %v for the answer", w.Code, left)
	}
}
