package pusher

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

const (
	documentedBody  = `{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`
	documentedQuery = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f" +
		"&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
	documentedMessage = `project-3={"event":"foo","data":"{\"some\":\"data\"}","socket":null}`
)

// The request in Pusher's documentation is accepted as it is there, and
// published in Laravel's form.
func TestDocumentedRequest(t *testing.T) {
	var b backend
	w := send(NewAPI(b.config()), "POST", "/apps/3/events?"+documentedQuery, documentedBody, nil)
	if w.Code != 200 || w.Body.String() != "{}" || len(b.published) != 1 || b.published[0] != documentedMessage {
		t.Errorf("%d %s, published %q", w.Code, w.Body, b.published)
	}
	if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the headers are %v", w.Header())
	}
	b.counted(t, stats.APIAccepted)
}

// A request in which anything was changed after the application had signed it is
// refused, and nothing is published.
func TestTamperedRequests(t *testing.T) {
	const other = `{"name":"bar","channels":["project-3"],"data":"{\"some\":\"data\"}"}`
	set := func(name, value string) func(*call) { return func(c *call) { c.query.Set(name, value) } }
	again := func(change func(*call)) func(*call) { // signed with the right secret after the change
		return func(c *call) { change(c); c.sign(testApp) }
	}
	at := func(seconds int64) string { return strconv.FormatInt(now.Unix()+seconds, 10) }
	signature := signed("POST", "/apps/3/events", "", documentedBody).query.Get("auth_signature")
	for _, tt := range []struct {
		name   string
		change func(*call)
		status int
		result stats.APIResult
		text   string
	}{
		// What proves who has sent it.
		{"no signature", set("auth_signature", ""), 401, stats.APISignature, "not signed"},
		{"the signature is missing", func(c *call) { c.query.Del("auth_signature") }, 401, stats.APISignature, "not signed"},
		{"one digit of the signature", set("auth_signature", "0"+signature[1:]), 401, stats.APISignature, "SIDECAST_PUSHER_SECRET"},
		{"the beginning of the signature", set("auth_signature", signature[:63]), 401, stats.APISignature, "SIDECAST_PUSHER_SECRET"},
		{"the signature and more", set("auth_signature", signature+"0"), 401, stats.APISignature, "SIDECAST_PUSHER_SECRET"},
		{"the signature in upper case", set("auth_signature", strings.ToUpper(signature)), 401, stats.APISignature, "SIDECAST_PUSHER_SECRET"},
		{"white space after the signature", set("auth_signature", signature+" "), 401, stats.APISignature, "SIDECAST_PUSHER_SECRET"},
		{"two signatures", func(c *call) { c.query.Add("auth_signature", signature) }, 401, stats.APISignature, "each parameter once"},
		{"two spellings of the signature's name", set("AUTH_SIGNATURE", signature), 401, stats.APISignature, "each parameter once"},
		{"another secret", func(c *call) { c.sign(access.NewApp("3", testApp.Key, "another secret of it")) }, 401, stats.APISignature, "SIDECAST_PUSHER_SECRET"},
		{"an empty secret", func(c *call) { c.sign(access.NewApp("3", testApp.Key, "")) }, 401, stats.APISignature, "SIDECAST_PUSHER_SECRET"},
		{"the signature of a channel", set("auth_signature", strings.TrimPrefix(testApp.SignChannel("1.1", "private-a", ""), testApp.Key+":")), 401, stats.APISignature, "SIDECAST_PUSHER_SECRET"},
		{"another key", again(set("auth_key", "278d425bdf160c739804")), 401, stats.APIKey, "SIDECAST_PUSHER_KEY"},
		{"no key", again(set("auth_key", "")), 401, stats.APISignature, "not signed"},
		{"another version", again(set("auth_version", "2.0")), 401, stats.APISignature, "auth_version=1.0"},
		{"no version", again(func(c *call) { c.query.Del("auth_version") }), 401, stats.APISignature, "auth_version=1.0"},

		// When.
		{"601 s old", again(set("auth_timestamp", at(-601))), 401, stats.APIClock, "600 s"},
		{"601 s in the future", again(set("auth_timestamp", at(601))), 401, stats.APIClock, "600 s"},
		{"an old request with a new time", set("auth_timestamp", at(1)), 401, stats.APISignature, "SIDECAST_PUSHER_SECRET"},
		{"milliseconds", again(set("auth_timestamp", at(0)+"000")), 401, stats.APIClock, "in seconds"},
		{"a time that is no number", again(set("auth_timestamp", "now")), 401, stats.APIClock, "in seconds"},
		{"a time of more than 64 bits", again(set("auth_timestamp", strings.Repeat("9", 30))), 401, stats.APIClock, "in seconds"},
		{"no time", again(func(c *call) { c.query.Del("auth_timestamp") }), 401, stats.APISignature, "not signed"},

		// What.
		{"another body", func(c *call) { c.body = other }, 401, stats.APIBody, "body_md5"},
		{"a body with its own digest", func(c *call) { c.body = other; c.query.Set("body_md5", digest(other)) }, 401, stats.APISignature, "SIDECAST_PUSHER_SECRET"},
		{"one more byte", func(c *call) { c.body += " " }, 401, stats.APIBody, "body_md5"},
		{"no body", func(c *call) { c.body = "" }, 401, stats.APIBody, "body_md5"},
		{"no digest", again(func(c *call) { c.query.Del("body_md5") }), 401, stats.APIBody, "body_md5 is missing"},
		{"an empty digest", again(set("body_md5", "")), 401, stats.APIBody, "body_md5 is missing"},
		{"the digest of another body", again(set("body_md5", digest(other))), 401, stats.APIBody, "something changed it"},
		{"the digest in upper case", again(set("body_md5", strings.ToUpper(digest(documentedBody)))), 401, stats.APIBody, "something changed it"},
		{"the digest, removed from a signed query", func(c *call) { c.query.Del("body_md5") }, 401, stats.APISignature, "SIDECAST_PUSHER_SECRET"},
		{"another parameter", set("info", "user_count"), 401, stats.APISignature, "SIDECAST_PUSHER_SECRET"},
		{"the digest as a part of the version", func(c *call) {
			c.query.Set("auth_version", "1.0&body_md5="+digest(documentedBody))
			c.query.Del("body_md5")
		}, 401, stats.APISignature, "no & in a name"},

		// Where.
		{"another method", func(c *call) { c.method = "PUT" }, 401, stats.APISignature, "the method"},
		{"another method, signed", again(func(c *call) { c.method = "PUT" }), 405, stats.APIInvalid, "only POST"},
		{"GET, signed", again(func(c *call) { c.method = "GET" }), 405, stats.APIInvalid, "only POST"},
		{"another path", func(c *call) { c.path = "/apps/3/batch_events" }, 401, stats.APISignature, "the path"},
		{"a slash after the path", func(c *call) { c.path += "/" }, 401, stats.APISignature, "the path"},
		{"a path that does not exist, signed", again(func(c *call) { c.path = "/apps/3/event" }), 404, stats.APIInvalid, "batch_events"},
		{"another application", func(c *call) { c.path = "/apps/4/events" }, 404, stats.APIUnknownApp, "SIDECAST_PUSHER_APP_ID"},
		{"another application, signed", again(func(c *call) { c.path = "/apps/4/events" }), 404, stats.APIUnknownApp, "SIDECAST_PUSHER_APP_ID"},
		{"no application", again(func(c *call) { c.path = "/apps//events" }), 404, stats.APIUnknownApp, "SIDECAST_PUSHER_APP_ID"},

		// By whom: no page may have the secret.
		{"a page of another site", func(c *call) { c.header.Set("Origin", "https://evil.example") }, 403, stats.APIOrigin, "web pages"},
		{"a page of the same host", func(c *call) { c.header.Set("Origin", "http://relay") }, 403, stats.APIOrigin, "web pages"},
		{"a page without an origin", func(c *call) { c.header.Set("Origin", "null") }, 403, stats.APIOrigin, "web pages"},
		{"an empty origin", func(c *call) { c.header.Set("Origin", "") }, 403, stats.APIOrigin, "web pages"},
		{"a preflight", func(c *call) { c.method = "OPTIONS"; c.header.Set("Origin", "http://relay") }, 403, stats.APIOrigin, "web pages"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b backend
			c := signed("POST", "/apps/3/events", "", documentedBody)
			tt.change(c)
			b.wantRefused(t, c.send(NewAPI(b.config())), tt.status, tt.text)
			b.counted(t, tt.result)
		})
	}
}

// Questions are signed in the same way, and their parameters cannot be changed.
func TestTamperedQuestions(t *testing.T) {
	for name, change := range map[string]func(*call){
		"another prefix":                 func(c *call) { c.query.Set("filter_by_prefix", "private-") },
		"without the prefix":             func(c *call) { c.query.Del("filter_by_prefix") },
		"more info":                      func(c *call) { c.query.Set("info", "user_count,subscription_count") },
		"two parameters in one":          func(c *call) { c.query.Set("filter_by_prefix", "presence-&info=user_count"); c.query.Del("info") },
		"two parameters in one name":     func(c *call) { c.query = url.Values{"filter_by_prefix=presence-&info": {"user_count"}} },
		"one channel":                    func(c *call) { c.path += "/presence-room" },
		"its users":                      func(c *call) { c.path += "/presence-room/users" },
		"a slash in the name, escaped":   func(c *call) { c.path = "/apps/3%2Fchannels" },
		"the same in the name of an app": func(c *call) { c.path = "/apps%2F3/channels" },
		"a body":                         func(c *call) { c.body = "x" },
	} {
		var b backend
		c := signed("GET", "/apps/3/channels", "filter_by_prefix=presence-&info=user_count", "")
		if w := c.send(NewAPI(b.config())); w.Code != 200 {
			t.Fatalf("as signed: %d %s", w.Code, w.Body)
		}
		change(c)
		if w := c.send(NewAPI(b.config())); w.Code != 401 && w.Code != 404 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	// The name of one channel cannot become the path of another question.
	var b backend
	c := signed("GET", "/apps/3/channels/presence-room/users", "", "")
	c.path = "/apps/3/channels/presence-room%2Fusers"
	b.wantRefused(t, c.send(NewAPI(b.config())), 401, "wrong signature")
	// Nor can an escaped name become the name that is written so.
	c = signed("POST", "/apps/3/users/a%2520b/terminate_connections", "", "") // which signs a%20b
	b.wantRefused(t, c.send(NewAPI(b.config())), 401, "wrong signature")
}

// What libraries do differently is accepted.
func TestSignedRequests(t *testing.T) {
	for _, tt := range []struct {
		name   string
		base   string
		path   string // of the request
		signed string // as the path; escapes are not decoded
	}{
		{"at the root", "", "/apps/3/channels/chat", "/apps/3/channels/chat"},
		{"with a base path", "/push", "/push/apps/3/channels/chat", "/push/apps/3/channels/chat"},
		{"with a base path that is not signed, as in PHP", "/push", "/push/apps/3/channels/chat", "/apps/3/channels/chat"},
		{"a name that is signed as it is", "", "/apps/3/channels/private-a%20b%26c", "/apps/3/channels/private-a b&c"},
		{"a name that is signed escaped", "", "/apps/3/channels/private-a%20b%26c", "/apps/3/channels/private-a%20b%26c"},
		{"a percent sign that is signed as it is", "", "/apps/3/channels/50%25", "/apps/3/channels/50%"},
		{"a colon, escaped or not", "", "/apps/3/channels/chat%3A7", "/apps/3/channels/chat:7"},
	} {
		var b backend
		cfg := b.config()
		cfg.BasePath = tt.base
		c := signed("GET", tt.path, "", "")
		c.query.Del("auth_signature")
		query, _ := url.QueryUnescape(c.query.Encode())
		c.query.Set("auth_signature", testApp.Sign("GET\n"+tt.signed+"\n"+query))
		if w := c.send(NewAPI(cfg)); w.Code != 200 || !strings.Contains(w.Body.String(), "occupied") {
			t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
		}
	}
	for name, change := range map[string]func(*call){
		"600 s old":                     func(c *call) { c.query.Set("auth_timestamp", strconv.FormatInt(now.Unix()-600, 10)) },
		"600 s in the future":           func(c *call) { c.query.Set("auth_timestamp", strconv.FormatInt(now.Unix()+600, 10)) },
		"names in upper case":           func(c *call) { c.query.Set("INFO", c.query.Get("info")); c.query.Del("info") },
		"more parameters":               func(c *call) { c.query.Set("x", "a=b c+d%") },
		"a digest of no body":           func(c *call) { c.query.Set("body_md5", digest("")) },
		"a list, in the order as given": func(c *call) { c.query.Set("info", "subscription_count,user_count") },
	} {
		var b backend
		c := signed("GET", "/apps/3/channels/presence-room", "info=user_count", "")
		change(c)
		c.sign(testApp)
		if w := c.send(NewAPI(b.config())); w.Code != 200 || !strings.Contains(w.Body.String(), `"user_count":3`) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// Without the id of an application, there is no API, and the answer says why.
func TestAPIIsOff(t *testing.T) {
	for _, path := range []string{"/apps/3/events", "/apps//events", "/apps/"} {
		var b backend
		cfg := b.config()
		cfg.App = access.NewApp("", testApp.Key, "7ad3773142a6692b25b8")
		b.wantRefused(t, signed("POST", path, "", documentedBody).send(NewAPI(cfg)), 404, "SIDECAST_PUSHER_APP_ID")
	}
}

// failingBody fails the test when it is read.
type failingBody struct{ t *testing.T }

func (b failingBody) Read([]byte) (int, error) {
	b.t.Error("the body was read")
	return 0, http.ErrBodyReadAfterClose
}

// FuzzQuery: two queries with different parameters never have the same text to
// sign.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "a=1&b=2", "a=1%26b=2", "a%3Db=2", "A=1&a=2", "a=b=c", "a&b", "%26=1", "=", "a=%0A", documentedQuery} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		query, ok := parseQuery(raw)
		if !ok {
			return
		}
		delete(query, "auth_signature")
		again := map[string]string{}
		if text := signedQuery(query); text != "" {
			for part := range strings.SplitSeq(text, "&") {
				name, value, _ := strings.Cut(part, "=")
				again[name] = value
			}
		}
		for name, value := range query {
			if again[name] != value {
				t.Errorf("%q: %q is %q, and in the text %q", raw, name, value, again[name])
			}
		}
		if len(again) != len(query) {
			t.Errorf("%q: %q is signed as %q", raw, query, again)
		}
	})
}
