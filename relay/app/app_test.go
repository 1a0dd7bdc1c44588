package app_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"sidecast/config"
	"sidecast/relay/app"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/server"
)

// load returns the settings of an environment.
func load(t *testing.T, environment map[string]string) *config.Config {
	t.Helper()
	for name, value := range environment {
		t.Setenv("SIDECAST_"+name, value)
	}
	cfg, _, err := config.Load()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// A relay runs in the process of its caller, and releases its listeners when it
// stops.
func TestRun(t *testing.T) {
	redis := redistest.Start(t)
	a, err := app.New(load(t, map[string]string{
		"REDIS_URL": redis.URL(), "CHANNELS": "*", "PUBLIC_CHANNELS": "*", "LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": "127.0.0.1:0",
	}), app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	response, err := http.Get("http://" + a.AdminAddr().String() + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("livez answers %s", response.Status)
	}
	cancel(server.ErrHurry)
	if err := <-ended; err != nil {
		t.Errorf("Run returned %v", err)
	}
	if conn, err := net.Dial("tcp", a.Addr().String()); err == nil {
		conn.Close()
		t.Error("the listener is still open")
	}
}

// New binds nothing for settings that only the relay can reject, and names the
// setting.
func TestInvalidSettings(t *testing.T) {
	for algorithms, want := range map[string]string{
		"ES256,HS256": "ES256 cannot be verified by SIDECAST_JWT_SECRET; write one or more of HS256, HS384, HS512",
		"hs256":       "hs256 cannot be verified by SIDECAST_JWT_SECRET; write HS256: the names are case-sensitive",
	} {
		_, err := app.New(load(t, map[string]string{
			"REDIS_URL": "redis://127.0.0.1:1", "CHANNELS": "chat", "JWT_SECRET": strings.Repeat("s", 32), "JWT_ALGORITHMS": algorithms,
		}), app.Options{})
		var faults config.Faults
		if !errors.As(err, &faults) || err.Error() != "SIDECAST_JWT_ALGORITHMS: "+want {
			t.Errorf("%s: %v, want %s", algorithms, err, want)
		}
	}
}
