package auth_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
)

// TestLoginRejections checks the close code for each kind of answer of the
// application.
func TestLoginRejections(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch answer := strings.TrimPrefix(r.Header.Get("Cookie"), "answer="); answer {
		case "a login page":
			fmt.Fprint(w, "<form>")
		case "a broken connection":
			panic(http.ErrAbortHandler)
		default:
			status, _ := strconv.Atoi(answer)
			w.Header().Set("Location", "/login")
			w.WriteHeader(status)
		}
	})
	s := newSetup(t, "AUTH_URL=http://"+addr+"/")
	client := func(answer, channel string) *relaytest.Client {
		return s.dial(dialOptions{raw: true, channels: []string{channel}, header: http.Header{"Cookie": {"answer=" + answer}}})
	}
	for _, tt := range []struct {
		answer, channel string
		code            uint16
	}{
		{"403", "public:1", 4403},
		{"500", "public:1", 1013},
		{"a login page", "public:1", 1013},
		{"a broken connection", "public:1", 1013},
		{"302", "chat:1", 4401}, // anonymous, and the channel is not public
	} {
		s.wantClose(client(tt.answer, tt.channel), tt.answer, tt.code)
	}
	anonymous := client("302", "public:1")
	s.redis.CLI("PUBLISH", "public:1", "for everyone")
	s.await(anonymous, "a public channel after a redirect", relaytest.Is(relaytest.KindMessage))
}
