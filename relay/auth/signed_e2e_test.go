package auth_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// phpSign signs a channel with the line of the README.
func phpSign(t *testing.T, channel, user string, exp int64, secret string) string {
	t.Helper()
	redistest.Require(t, "php", "php-cli")
	line := readmePart(t, "<!-- signature -->\n```php\n", "```\n<!-- /signature -->")
	php := exec.Command("php", "-r", `[, $channel, $user, $exp] = $argv; `+line+` echo $sig;`, "--", channel, user, strconv.FormatInt(exp, 10))
	php.Env = append(os.Environ(), "SIDECAST_CHANNEL_SECRET="+secret)
	sig, err := php.Output()
	if err != nil {
		t.Fatalf("php: %v\n%s", err, sig)
	}
	return string(sig)
}

// ways are how a client presents a signature. Each returns the code of the
// rejection, as in sidecast.v1, or "ok".
var ways = map[string]func(s *setup, channel, sig, user string) string{
	"sidecast.v1": func(s *setup, channel, sig, user string) string {
		c := s.dial(dialOptions{})
		defer c.Drop()
		return resultOf(s.t, c.SubscribeFrom(s.t.Context(), relaytest.ChannelRequest{Channel: channel, Sig: sig, User: user}))
	},
	"raw": func(s *setup, channel, sig, user string) string {
		c := s.dial(dialOptions{raw: true, query: "?" + signedQuery(channel, sig, user)})
		defer c.Drop()
		if err := c.Barrier(s.t.Context()); err == nil {
			return "ok"
		}
		e := s.await(c, "the close", relaytest.Is(relaytest.KindEnd))
		return map[uint16]string{4401: "unauthorized", 4403: "forbidden"}[e.Code]
	},
	"sse": func(s *setup, channel, sig, user string) string {
		c, err := s.openStream(channel, sig, user)
		if err == nil {
			c.Drop()
			return "ok"
		}
		failed, _ := errors.AsType[*relaytest.HandshakeError](err)
		if failed == nil {
			s.t.Fatal(err)
		}
		return map[int]string{http.StatusUnauthorized: "unauthorized", http.StatusForbidden: "forbidden"}[failed.Status]
	},
}

func (s *setup) openStream(channel, sig, user string) (*relaytest.Client, error) {
	url := s.relay.URL() + "?" + signedQuery("", sig, user)
	return (&relaytest.Dialer{URL: url, Protocol: relaytest.SSE, Channels: []string{channel}}).Dial(s.t.Context())
}

// signedQuery returns the query of a URL. Without a channel, the dialer adds it.
func signedQuery(channel, sig, user string) string {
	query := url.Values{"sig": {sig}}
	if channel != "" {
		query.Set("channel", channel)
	}
	if user != "" {
		query.Set("user", user)
	}
	return query.Encode()
}

// A presented signature is sent by a client.
type presented struct{ channel, sig, user string }

// tamperings change what PHP has signed for user 42 and the channel order:7.
func tamperings(valid presented, other, ofOldSecret string) map[string]presented {
	exp, code, _ := strings.Cut(valid.sig, ".")
	seconds, _ := strconv.Atoi(exp)
	list := make(map[string]presented)
	sig := func(name, sig string) { list[name] = presented{valid.channel, sig, valid.user} }
	user := func(name, user string) { list[name] = presented{valid.channel, valid.sig, user} }
	channel := func(name, channel string) { list[name] = presented{channel, valid.sig, valid.user} }
	for name, channelName := range map[string]string{
		"another channel": "order:8", "a longer channel": "order:70", "a shorter channel": "order:", "in capitals": "ORDER:7",
		"a space after the channel": "order:7 ", "a space before the channel": " order:7", "a pattern": "order:*", "all channels": "*",
		"a pattern of one character": "order:?", "a class": "order:[7]", "a digit of another script": "order:\uff17", "a combining character": "order:7\u0301",
		"a zero-width space": "order:7\u200b", "a slash": "order:7/", "escaped again": "order%3A7", "the user's own channel": "user:42",
	} {
		channel(name, channelName)
	}
	for name, userName := range map[string]string{
		"no user": "", "another user": "43", "a longer user": "420", "a shorter user": "4", "a zero before the user": "042", "a space after the user": "42 ",
		"a line break after the user": "42\n", "the channel in the user": "42\norder:7", "the user as a decimal": "42.0", "a plus": "+42", "a user with a zero byte": "42\x00",
		"a user of another script": "\uff14\uff12", "a user that is too long": strings.Repeat("4", 129), "a user who is a pattern": "*",
	} {
		user(name, userName)
	}
	for name, text := range map[string]string{
		"a second more": fmt.Sprint(seconds+1) + "." + code, "a second less": fmt.Sprint(seconds-1) + "." + code,
		"a year more": fmt.Sprint(seconds+365*86400) + "." + code, "an expiry of 20 digits": "99999999999999999999." + code,
		"a negative expiry": "-" + valid.sig, "a plus before the expiry": "+" + valid.sig, "a zero before the expiry": "0" + valid.sig,
		"a space before the expiry": " " + valid.sig, "an expiry in milliseconds": exp + "000." + code, "an expiry with an exponent": exp + "e1." + code,
		"an expiry with a separator": exp[:4] + "_" + exp[4:] + "." + code, "no expiry": "." + code, "no code": exp + ".", "only an expiry": exp,
		"only a code": code, "in capital letters": exp + "." + strings.ToUpper(code), "the first digit changed": exp + "." + flip(code, 0),
		"the last digit changed": exp + "." + flip(code, len(code)-1), "a digit in the middle changed": exp + "." + flip(code, 32),
		"a digit less": valid.sig[:len(valid.sig)-1], "a digit more": valid.sig + "0", "twice": valid.sig + valid.sig, "two dots": exp + ".." + code,
		"a line break at the end": valid.sig + "\n", "a zero byte at the end": valid.sig + "\x00", "half of the code": exp + "." + code[:32],
		"zeros": exp + "." + strings.Repeat("0", 64), "a comma instead of the dot": exp + "," + code, "the signature of another channel": other,
		"its code with this expiry": exp + "." + other[strings.IndexByte(other, '.')+1:], "a secret that is not in use": ofOldSecret,
		"a very long text": strings.Repeat(valid.sig, 40), "the code of the empty secret": access.NewChannelSecrets("").Sign(valid.channel, valid.user, time.Unix(int64(seconds), 0)),
		"user and channel swapped": access.NewChannelSecrets(testSecret).Sign(valid.user, valid.channel, time.Unix(int64(seconds), 0)),
		"a token of this secret":   "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9." + code,
	} {
		sig(name, text)
	}
	return list
}

// flip changes one hexadecimal digit.
func flip(code string, i int) string {
	digit := "0"
	if code[i] == '0' {
		digit = "1"
	}
	return code[:i] + digit + code[i+1:]
}

// TestTamperedSignatures: a signature of PHP opens the channel in each way, and
// none of many changes to it does.
func TestTamperedSignatures(t *testing.T) {
	s := newSetup(t, "CHANNEL_SECRET="+testSecret, "COMMAND_RATE=1000")
	exp := time.Now().Unix() + 3600
	valid := presented{"order:7", phpSign(t, "order:7", "42", exp, testSecret), "42"}
	list := tamperings(valid, phpSign(t, "order:8", "42", exp+1, testSecret), phpSign(t, "order:7", "42", exp, "a secret of 32 bytes that is not in use"))
	if len(list) < 50 {
		t.Fatalf("%d tamperings", len(list))
	}
	for way, subscribe := range ways {
		if got := subscribe(s, valid.channel, valid.sig, valid.user); got != "ok" {
			t.Errorf("%s: the signature of PHP: %s", way, got)
		}
		for name, p := range list {
			if got := subscribe(s, p.channel, p.sig, p.user); got != "forbidden" {
				t.Errorf("%s, %s: %s", way, name, got)
			}
		}
	}
	t.Logf("%d tamperings, in %d ways", len(list), len(ways))
	for name, text := range map[string]string{"the log": s.relay.Log(), "the metrics": get(t, "http://"+s.relay.AdminAddr()+"/metrics")} {
		if code := valid.sig[strings.IndexByte(valid.sig, '.')+1:]; strings.Contains(text, code) || strings.Contains(text, code[:32]) {
			t.Errorf("%s contains the signature", name)
		}
	}
}

// TestSignedChannels: signatures that PHP makes open single channels of a relay
// on which nothing else is open, until they expire, also after a reconnect and
// while the secret is replaced.
func TestSignedChannels(t *testing.T) {
	const previous = "the previous secret of 32 bytes and more"
	s := newSetup(t, "CHANNEL_SECRET="+testSecret, "CHANNEL_PREVIOUS_SECRET="+previous, "CHANNELS=order:*,news", "DURABLE_CHANNELS=invoice:*")
	exp := time.Now().Unix() + 3600
	for way, subscribe := range ways {
		for _, channel := range []string{"order:7", "invoice:7"} {
			for _, secret := range []string{testSecret, previous} {
				if got := subscribe(s, channel, phpSign(t, channel, "", exp, secret), ""); got != "ok" {
					t.Errorf("%s, %s, signed with %q: %s", way, channel, secret, got)
				}
			}
		}
		for channel, want := range map[string]string{"other": "forbidden", "sidecast:control": "bad_channel"} {
			got := subscribe(s, channel, phpSign(t, channel, "", exp, testSecret), "")
			if way != "sidecast.v1" && want == "bad_channel" {
				want = "forbidden"
			}
			if got != want {
				t.Errorf("%s, %s: %s", way, channel, got)
			}
		}
		if got := subscribe(s, "order:7", phpSign(t, "order:7", "", time.Now().Unix()-1, testSecret), ""); got != "unauthorized" {
			t.Errorf("%s, expired: %s", way, got)
		}
	}

	// A client comes back with its cursor and its signature.
	request := relaytest.ChannelRequest{Channel: "invoice:7", Sig: phpSign(t, "invoice:7", "", exp, testSecret)}
	c := s.dial(dialOptions{})
	if err := c.SubscribeFrom(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	request.After = c.Cursors()[0].After
	c.Drop()
	s.redis.CLI("XADD", "invoice:7", "*", "data", "missed")
	c = s.dial(dialOptions{})
	unsigned := request
	unsigned.Sig = ""
	if got := resultOf(t, c.SubscribeFrom(t.Context(), unsigned)); got != "forbidden" {
		t.Errorf("resumed without the signature: %s", got)
	}
	if err := c.SubscribeFrom(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if e := s.await(c, "the missed message", relaytest.Is(relaytest.KindMessage)); e.Data != "missed" {
		t.Errorf("received %v", e)
	}
}

// TestSignatureExpires: at its end, a subscription ends in sidecast.v1, and the
// connection of a raw client and an event stream with 4401.
func TestSignatureExpires(t *testing.T) {
	s := newSetup(t, "CHANNEL_SECRET="+testSecret)
	exp, v1, raw, stream := s.subscribeUntilSoon()
	s.await(v1, "the end of the subscription", func(e relaytest.Event) bool {
		return e.Kind == relaytest.KindUnsubscribed && e.Channel == "order:7" && e.Text == "expired"
	})
	if now := time.Now().Unix(); now < exp-1 {
		t.Errorf("the subscription ended %d s too early", exp-now)
	}
	s.wantClose(raw, "the raw client", 4401)
	s.wantClose(stream, "the stream", 4401)
	s.redis.CLI("PUBLISH", "order:7", "after the end")
	s.redis.CLI("PUBLISH", "public:1", "open")
	s.await(v1, "a message on another channel", relaytest.IsOn(relaytest.KindMessage, "public:1"))
	for _, e := range v1.Events() {
		if e.Kind == relaytest.KindMessage && e.Channel == "order:7" {
			t.Errorf("received %v after the end", e)
		}
	}
}

// subscribeUntilSoon connects a client of each kind with a signature for order:7
// that expires at exp, a few seconds from now: as many as this machine needs to
// connect all of them before. The first client is also subscribed to public:1.
func (s *setup) subscribeUntilSoon() (exp int64, v1, raw, stream *relaytest.Client) {
	for lifetime := int64(5); ; lifetime *= 2 {
		exp = time.Now().Unix() + lifetime
		sig := phpSign(s.t, "order:7", "42", exp, testSecret)
		v1 = s.dial(dialOptions{})
		result := resultOf(s.t, v1.SubscribeFrom(s.t.Context(),
			relaytest.ChannelRequest{Channel: "order:7", Sig: sig, User: "42"}, relaytest.ChannelRequest{Channel: "public:1"}))
		raw = s.dial(dialOptions{raw: true, query: "?" + signedQuery("order:7", sig, "42")})
		opened, err := s.openStream("order:7", sig, "42")
		if err == nil {
			s.t.Cleanup(opened.Drop)
		}
		switch {
		case time.Now().Unix() >= exp:
		case result != "ok" || err != nil:
			s.t.Fatalf("the signature is valid for %d s: %s, %v", exp-time.Now().Unix(), result, err)
		default:
			return exp, v1, raw, opened
		}
	}
}

// TestSignedPage runs the page of the README with PHP: its URL opens the
// channels in it.
func TestSignedPage(t *testing.T) {
	redistest.Require(t, "php", "php-cli")
	s := newSetup(t, "CHANNEL_SECRET="+testSecret)
	php := exec.Command("php")
	php.Stdin = strings.NewReader(snippet(t, "order.php"))
	php.Env = append(os.Environ(), "SIDECAST_CHANNEL_SECRET="+testSecret)
	page, err := php.CombinedOutput()
	if err != nil {
		t.Fatalf("php: %v\n%s", err, page)
	}
	found := regexp.MustCompile(`new EventSource\('/sse(\?[^']*)'\)`).FindSubmatch(page)
	if found == nil {
		t.Fatalf("no URL in the page:\n%s", page)
	}
	query := strings.ReplaceAll(string(found[1]), "&amp;", "&")
	if strings.Contains(string(found[1]), "&amp;") {
		t.Errorf("a script reads &amp; as it is: %s", query)
	}
	c := s.dial(dialOptions{raw: true, query: query})
	if err := c.Barrier(t.Context()); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	for _, channel := range []string{"order:7", "order:8"} {
		s.redis.CLI("PUBLISH", channel, "on "+channel)
		s.await(c, "a message on "+channel, func(e relaytest.Event) bool { return e.Kind == relaytest.KindMessage && e.Data == "on "+channel })
	}
}

// TestSignCommand: the relay accepts the signatures of sidecast sign, which
// rejects what the relay would reject.
func TestSignCommand(t *testing.T) {
	s := newSetup(t, "CHANNEL_SECRET="+testSecret, "CHANNELS=order:*")
	for _, user := range []string{"", "42"} {
		args := []string{"sign", "order:7", "--ttl", "1h"}
		if user != "" {
			args = append(args, "--user", user)
		}
		sig := strings.TrimSpace(s.output(args...))
		for way, subscribe := range ways {
			if got := subscribe(s, "order:7", sig, user); got != "ok" {
				t.Errorf("%s, user %q: %s", way, user, got)
			}
		}
	}
	for want, args := range map[string][]string{
		"matches no pattern in SIDECAST_CHANNELS": {"sign", "other"},
		"is not a valid channel name":             {"sign", "order:\n"},
		"is a reserved name":                      {"sign", "sidecast:control"},
		"is not a valid user id":                  {"sign", "order:7", "--user", "a\nb"},
		"--ttl must be a duration":                {"sign", "order:7", "--ttl", "-1s"},
		"too few arguments":                       {"sign"},
	} {
		out, err := s.command(args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || strings.Contains(string(out), testSecret) {
			t.Errorf("%q: %v, %s", args, err, out)
		}
	}
	delete(s.env, "SIDECAST_CHANNEL_SECRET")
	if out := s.output("sign", "order:7"); !strings.Contains(out, "SIDECAST_CHANNEL_SECRET, which is unset") {
		t.Errorf("without a secret: %s", out)
	}
}
