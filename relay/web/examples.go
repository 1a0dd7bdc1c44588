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
	Text        string // with the placeholders {channel}, {client} and {relay}
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
	examples := []example{
		{"redis-cli", "redis-cli", redisCLI + " publish {channel} hello", "shell"},
		{"command", "Sidecast command line", program + " publish {channel} hello", "shell"},
		{"php", "PHP, with the redis extension", phpConnect + "$redis->publish({channel}, 'hello');", "php"},
	}
	page := example{ID: "page", Quote: "script", Text: `<script type="module">
import { connect } from
  '{client}';
const relay = connect(
  '{relay}');
relay.channel({channel}).on('message',
  (m) => console.log(m.data));
</script>`}
	var figures strings.Builder
	for _, e := range examples {
		fmt.Fprintf(&figures, figureHTML, e.ID, html.EscapeString(e.Caption), e.ID, e.code())
	}
	// A Replacer instead of html/template: with that package, the linker cannot
	// remove unused methods from the whole program, which makes the binary 8 MB
	// larger.
	return []byte(strings.NewReplacer("<!-- examples -->", figures.String(), "<!-- page -->", page.code()).
		Replace(string(mustRead("index.html"))))
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
	initial := strings.NewReplacer("{channel}", channel, "{client}", "http://…/sidecast.mjs", "{relay}", "ws://…/ws").Replace(e.Text)
	return fmt.Sprintf(`<code id="%s" data-text="%s" data-quote="%s">%s</code>`,
		e.ID, html.EscapeString(e.Text), e.Quote, html.EscapeString(initial))
}
