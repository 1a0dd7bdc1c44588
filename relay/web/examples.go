package web

import (
	"fmt"
	"html"
	"net"
	"strings"
)

// An example is code for the reader to copy. It consists of Before, a channel
// and After.
type example struct {
	ID, Caption   string
	Before, After string
	Quote         string // how the script quotes a channel name: shell, php or socket
	Channel       string // the initial channel, quoted
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
		{"redis-cli", "redis-cli", redisCLI + " publish ", " hello", "shell", "chat"},
		{"command", "Sidecast command line", program + " publish ", " hello", "shell", "chat"},
		{"php", "PHP, with the redis extension", phpConnect + "$redis->publish(", ", 'hello');", "php", "'chat'"},
	}
	socket := example{
		ID: "javascript", Quote: "socket",
		Before:  "const socket = new WebSocket(\n  ",
		After:   ");\nsocket.onmessage = (event) =>\n  console.log(event.data);",
		Channel: "'ws://…/ws?channel=chat'", // the page's script inserts the address
	}
	var figures strings.Builder
	for _, e := range examples {
		fmt.Fprintf(&figures, figureHTML, e.ID, html.EscapeString(e.Caption), e.ID, e.code())
	}
	// A Replacer instead of html/template: with that package, the linker cannot
	// remove unused methods from the whole program, which makes the binary 8 MB
	// larger.
	return []byte(strings.NewReplacer("<!-- examples -->", figures.String(), "<!-- socket -->", socket.code()).
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
// the page's script how to insert another channel.
func (e example) code() string {
	escape := html.EscapeString
	return fmt.Sprintf(`<code id="%s" data-before="%s" data-after="%s" data-quote="%s">%s</code>`,
		e.ID, escape(e.Before), escape(e.After), e.Quote, escape(e.Before+e.Channel+e.After))
}
