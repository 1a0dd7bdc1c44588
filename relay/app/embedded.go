package app

import (
	"fmt"
	"net"
	"os"
	"strings"

	"sidecast/relay/embedded"
	"sidecast/relay/loopback"
	"sidecast/relay/source"
)

// An embeddedRedis is the Redis in memory and the file by which other commands
// find this relay. A nil value means that Redis is real.
type embeddedRedis struct {
	server *embedded.Server
	forget func()
}

// startRedis starts the embedded Redis, if the settings ask for one, and
// announces it.
func (a *App) startRedis() error {
	cfg, logger := a.cfg, a.options.Logger
	if !cfg.IsEmbedded() {
		return nil
	}
	db, err := embedded.Start(embedded.DefaultAddr, logger)
	if err != nil {
		return fmt.Errorf("starting the embedded Redis: %w", err)
	}
	a.settings.Redis = source.Server{Address: db.Addr(), Protocol: int(cfg.RedisProtocol)}
	relay := Reachable(a.Addr().String()) + string(cfg.BasePath)
	forget, err := embedded.WriteRunfile(embedded.Runfile{
		Redis: db.Addr(), Relay: relay, Admin: a.AdminAddr().String(), PID: os.Getpid(),
	})
	if err != nil {
		logger.Warn("other sidecast commands will not find this relay", "err", err)
		forget = func() {}
	}
	a.embedded = &embeddedRedis{server: db, forget: forget}
	if notice := db.Notice(); notice != "" {
		fmt.Fprintln(a.options.Notices, notice)
	}
	opened := ""
	if cfg.IsSet("LISTEN") && !loopback.Addr(a.Addr()) {
		opened = string(cfg.Listen)
	}
	banner(a.options.Notices, "http://"+forBrowser(relay)+"/", "http://"+forBrowser(Reachable(a.AdminAddr().String()))+"/console", db.Addr(), opened)
	return nil
}

func (e *embeddedRedis) addr() string {
	if e == nil {
		return ""
	}
	return e.server.Addr()
}

func (e *embeddedRedis) close() {
	if e != nil {
		e.forget()
		e.server.Close()
	}
}

// forBrowser replaces a loopback address by localhost, which is the host name in
// all examples: a page and its WebSocket must have the same one.
func forBrowser(address string) string {
	host, rest, ok := strings.Cut(address, ":")
	if ok && loopback.Host(host) {
		return "localhost:" + rest
	}
	return address
}

// Reachable turns the address of a listener into one to connect to: a listener
// on all addresses is reached at 127.0.0.1.
func Reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
