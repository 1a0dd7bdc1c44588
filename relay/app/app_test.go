package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
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

// The line that a relay logs when it starts says what is in force.
func TestStartLine(t *testing.T) {
	redis := redistest.Start(t)
	for name, tt := range map[string]struct {
		settings map[string]string
		want     []string
	}{
		"what is set": {
			map[string]string{
				"REDIS_URL": "redis://:hunter2@" + redis.Addr, "CHANNELS": "chat,chat:*", "DURABLE_CHANNELS": "order:*",
				"PUBLIC_CHANNELS": "chat", "PUBLISH_CHANNELS": "chat:*", "DEFAULT_CHANNELS": "chat",
				"JWT_SECRET": strings.Repeat("s", 32), "CHANNEL_PREFIX": "app_", "READER": "goroutine",
			},
			[]string{
				"version=1.2.3", "redis=" + redis.Addr, "in_memory=false", "channels=chat,chat:*", "durable=order:*", "prefix=app_",
				"public=chat", "publish=chat:*", "default=chat", "login=SIDECAST_JWT_SECRET", "reader=goroutines",
			},
		},
		"what is not set": {
			map[string]string{"REDIS_URL": redis.URL(), "CHANNELS": "chat", "PUBLIC_CHANNELS": "chat"},
			[]string{"durable=none", "prefix=none", "publish=none", "default=none", "login=none"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.settings["LISTEN"], tt.settings["ADMIN_LISTEN"] = "127.0.0.1:0", "127.0.0.1:0"
			var log bytes.Buffer
			a, err := app.New(load(t, tt.settings), app.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Version: "1.2.3"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(server.ErrHurry)
			if err := a.Run(ctx); err != nil {
				t.Error(err)
			}
			line, _, _ := strings.Cut(log.String(), "\n")
			for _, attribute := range tt.want {
				if !strings.Contains(line+" ", " "+attribute+" ") {
					t.Errorf("%s is missing in %s", attribute, line)
				}
			}
			if strings.Contains(log.String(), "hunter2") {
				t.Error("the log contains the password")
			}
		})
	}
}

// A limit on connections above the number of files that the process may open is
// lowered, and the log says so.
func TestMaxConnectionsAboveTheFiles(t *testing.T) {
	const limit = 10_000_000
	used, files := server.Connections(limit, 32)
	if used == limit {
		t.Skipf("the limit on open files is %d", files)
	}
	var log bytes.Buffer
	a, err := app.New(load(t, map[string]string{
		"REDIS_URL": "redis://127.0.0.1:1", "CHANNELS": "*", "PUBLIC_CHANNELS": "*", "LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": "127.0.0.1:0",
		"MAX_CONNECTIONS": strconv.Itoa(limit),
	}), app.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(server.ErrHurry)
	if err := a.Run(ctx); err != nil {
		t.Error(err)
	}
	if want := fmt.Sprintf("value=%d used=%d files=%d", limit, used, files); !strings.Contains(log.String(), want) {
		t.Errorf("the log does not contain %q:\n%s", want, log.String())
	}
}
