package control

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// Terminate revokes the logins of a user, and then disconnects its sessions, at
// this relay as at all others. A user who is locked out stays so.
func TestTerminate(t *testing.T) {
	server := redistest.Start(t)
	for _, user := range []string{"42", `a "b"`} {
		r := newFakeRelay(t, server, access.NewNames("app:", ""), 0)
		subscription := r.client.Subscribe(t.Context(), r.Service().Channel)
		if _, err := subscription.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop := r.run()
		r.client.ZAdd(t.Context(), "app:sidecast:revoked", redis.Z{Score: math.Inf(1), Member: "user:locked"})
		before := time.Now().UnixMilli()
		if err := r.Terminate(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		message := <-subscription.Channel()
		r.receive([]byte(message.Payload))
		r.await("disconnect user:" + user)
		r.await("revoke user:" + user)
		if err := r.Terminate(t.Context(), "locked"); err != nil {
			t.Fatal(err)
		}
		stop()
		_ = subscription.Close()
		score := r.client.ZScore(t.Context(), "app:sidecast:revoked", "user:"+user).Val()
		if ms := int64(score); ms < before || ms > time.Now().UnixMilli() {
			t.Errorf("%s is revoked at %d, and it is after %d", user, ms, before)
		}
		if score := r.client.ZScore(t.Context(), "app:sidecast:revoked", "user:locked").Val(); !math.IsInf(score, 1) {
			t.Errorf("the user who is locked out is revoked at %v", score)
		}
	}
}

// Without Redis, the caller hears that nothing was ended.
func TestTerminateWithoutRedis(t *testing.T) {
	r := newFakeRelay(t, redistest.Start(t), access.NewNames("", ""), 0)
	r.down = source.ErrUnavailable
	if err := r.Terminate(t.Context(), "42"); !errors.Is(err, source.ErrUnavailable) {
		t.Errorf("returned %v", err)
	}
}
