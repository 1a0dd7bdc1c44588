package command

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

const healthAdvice = "is the relay running on this machine, and SIDECAST_ADMIN_LISTEN here what it is there?"

// Healthcheck asks the relay whose listener is at addr whether it lives, as a container runtime does.
func Healthcheck(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+Reachable(addr)+"/livez", nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", addr, err)
	}
	client := http.Client{Transport: &http.Transport{Proxy: nil}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking for health: %w; %s", err, healthAdvice)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("what listens at %s answers %s; %s", addr, response.Status, healthAdvice)
	}
	return nil
}

// Reachable turns the address of a listener into one to connect to: no host means this one.
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
