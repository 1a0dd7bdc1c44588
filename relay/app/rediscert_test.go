package app_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"sidecast/config"
	"sidecast/relay/app"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/server"
)

// TestRedisClientCertificate connects to a Redis that requires client
// certificates, with the settings for it.
func TestRedisClientCertificate(t *testing.T) {
	redis, ca, cert, key := redistest.StartMutualTLS(t)
	_, _, otherKey := redistest.Certificates(t)
	file := func(pem []byte) string { return redistest.WriteFile(t, "pem", pem) }
	settings := map[string]string{
		"REDIS_URL": "rediss://" + redis.Addr, "REDIS_CA": file(ca), "REDIS_CERT": file(cert), "REDIS_KEY": file(otherKey),
		"CHANNELS": "*", "PUBLIC_CHANNELS": "*", "LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": "127.0.0.1:0",
	}
	var faults config.Faults
	if _, err := app.New(load(t, settings), app.Options{}); !errors.As(err, &faults) ||
		!strings.HasPrefix(err.Error(), "SIDECAST_REDIS_KEY: does not belong to SIDECAST_REDIS_CERT;") {
		t.Errorf("with another certificate's key: %v", err)
	}
	settings["REDIS_KEY"] = file(key)
	a, err := app.New(load(t, settings), app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	ready := func() bool {
		response, err := http.Get("http://" + a.AdminAddr().String() + "/readyz?redis=1")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
	for deadline := time.Now().Add(time.Minute); !ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the relay does not connect to Redis")
		}
	}
	cancel(server.ErrHurry)
	if err := <-ended; err != nil {
		t.Errorf("Run returned %v", err)
	}
}
