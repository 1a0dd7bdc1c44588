package sse

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// slowLogin identifies a client after d, or fails when its context ends before.
func slowLogin(d time.Duration, gone *bool) option {
	return func(o *options) {
		o.sse.Identify = func(r *http.Request, _ *string) (access.Principal, protocol.CloseCode) {
			select {
			case <-time.After(d):
				return access.Principal{}, 0
			case <-r.Context().Done():
				*gone = true
				return access.Principal{}, protocol.CloseTryLater
			}
		}
	}
}

// The application may take longer than the server's limit for a response.
func TestSlowLogin(t *testing.T) {
	var gone bool
	inBubble(t, func(t *testing.T, b *bubble) {
		r := b.open("/sse?channel=a")
		r.want("id")
		if gone {
			t.Error("the request ended")
		}
	}, slowLogin(25*time.Second, &gone))
}

// A refusal arrives too.
func TestSlowRefusal(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		if r := b.open("/sse?channel=a"); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("the answer is %s", r.Status)
		}
	}, func(o *options) {
		o.sse.Identify = func(r *http.Request, _ *string) (access.Principal, protocol.CloseCode) {
			select {
			case <-time.After(25 * time.Second):
				return access.Principal{}, protocol.CloseUnauthorized
			case <-r.Context().Done():
				return access.Principal{}, protocol.CloseTryLater
			}
		}
	})
}

// A client that goes while the application decides about it is noticed.
func TestGoneDuringLogin(t *testing.T) {
	var gone bool
	inBubble(t, func(t *testing.T, b *bubble) {
		gone = false
		client := *b.client
		client.Timeout = time.Second
		if r, err := client.Get("http://relay/sse?channel=a"); err == nil {
			t.Errorf("the answer is %s", r.Status)
			_ = r.Body.Close()
		}
		b.client.CloseIdleConnections()
		synctest.Wait()
		if n := b.slots.Used(); n > b.version-1 || !gone {
			t.Errorf("%d slots are in use (noticed: %v)", n, gone)
		}
	}, slowLogin(25*time.Second, &gone))
}

// The relay does not keep what a client sent as long as its stream.
func TestRequestIsForgotten(t *testing.T) {
	var seen *http.Request
	inBubble(t, func(t *testing.T, b *bubble) {
		r := b.open("/sse?channel=a&token=secret", "Cookie", "session=secret", "Authorization", "Bearer secret")
		r.want("id")
		synctest.Wait()
		if b.version == 2 && (len(seen.Header) > 0 || seen.URL.RawQuery != "") {
			t.Errorf("the request still has %v %v", seen.Header, seen.URL)
		}
	}, func(o *options) {
		o.sse.Identify = func(r *http.Request, token *string) (access.Principal, protocol.CloseCode) {
			if token == nil || *token != "secret" {
				t.Error("there is no token")
			}
			seen = r
			return access.Principal{}, 0
		}
	})
}
