package web

import (
	"fmt"
	"html"
	"net"
	"strings"
)

// An example is code for the reader to copy.
type example struct {
	ID, Caption string
	Text        string // with the placeholders {channel}, {client}, {relay} and {stream}
	Quote       string // how the script quotes a channel name: shell, php or script
}

// renderIndex returns the HTML of the page with its examples. They contain the
// channel chat until the page's script replaces it.
func renderIndex(p Page) []byte {
	host, port, err := net.SplitHostPort(p.RedisAddr)
	program, redisCLI := "go run .", "redis-cli -p "+port
	if err != nil {
		host, port = "127.0.0.1", "6379"
		program, redisCLI = "sidecast", "redis-cli"
	}
	if host != "127.0.0.1" {
		redisCLI += " -h " + host
	}
	phpConnect := "$redis = new Redis();\n$redis->connect('" + host + "', " + port + ");\n"
	publishing := []example{
		{"redis-cli", "redis-cli", redisCLI + " publish {channel} hello", "shell"},
		{"command", "Sidecast command line", program + " publish {channel} hello", "shell"},
		{"php", "PHP, with the redis extension", phpConnect + "$redis->publish({channel}, 'hello');", "php"},
		{"console", "JavaScript, in a browser’s console", `const { connect } = await import(
  '{client}');
const relay = connect(
  '{relay}');
await relay.channel({channel})
  .publish('hello');`, "script"},
	}
	receiving := []example{
		{"page", "JavaScript, in your page", `<script type="module">
import { connect } from
  '{client}';
const relay = connect(
  '{relay}');
relay.channel({channel}).on('message',
  (m) => console.log(m.data));
</script>`, "script"},
		{"curl", "curl", "curl -N {stream}", "shell"},
	}
	// A Replacer instead of html/template: with that package, the linker cannot
	// remove unused methods from the whole program, which makes the binary 8 MB
	// larger.
	return []byte(strings.NewReplacer(
		"<!-- publishing -->", figures(publishing), "<!-- receiving -->", figures(receiving),
		`data-names="false"`, fmt.Sprintf(`data-names="%v"`, p.Names != nil),
	).Replace(string(mustRead("index.html"))))
}

func figures(examples []example) string {
	var b strings.Builder
	for _, e := range examples {
		fmt.Fprintf(&b, figureHTML, e.ID, html.EscapeString(e.Caption), e.ID, e.code())
	}
	return b.String()
}

// figureHTML formats an example with a button that copies it.
const figureHTML = `
    <figure>
      <figcaption id="%s-caption">%s</figcaption>
      <button type="button" class="copy" aria-describedby="%s-caption" hidden>Copy</button>
      %s
    </figure>`

// code returns the element with the example's code. Its data attributes tell
// the page's script how to insert another channel, and the relay's URLs, which
// only a browser knows.
func (e example) code() string {
	channel := "chat"
	if e.Quote != "shell" {
		channel = "'chat'"
	}
	initial := strings.NewReplacer("{channel}", channel, "{client}", "http://…/sidecast.mjs", "{relay}", "ws://…/ws", "{stream}", "'http://…/sse?channel=chat'").Replace(e.Text)
	return fmt.Sprintf(`<code id="%s" data-text="%s" data-quote="%s">%s</code>`,
		e.ID, html.EscapeString(e.Text), e.Quote, html.EscapeString(initial))
}
