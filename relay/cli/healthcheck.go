package cli

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"sidecast/config"
	"sidecast/relay/app"
	"sidecast/relay/embedded"
)

const healthAdvice = "is the relay running on this machine, with the same SIDECAST_ADMIN_LISTEN as here?"

// healthcheck asks the relay on this machine whether it is alive, as a
// container runtime does. It needs the admin address only: a certificate that
// cannot be read for a moment must not restart the container.
func healthcheck(ctx context.Context, _ *Program, _ []string) error {
	cfg, err := config.LoadOnly("EMBEDDED", "ADMIN_LISTEN")
	if err != nil {
		return err
	}
	addr := string(cfg.AdminListen)
	if cfg.IsEmbedded() && !cfg.IsSet("ADMIN_LISTEN") {
		running, err := embedded.ReadRunfile()
		if err != nil {
			return err
		}
		addr = running.Admin
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+app.Reachable(addr)+"/livez", nil)
	if err != nil {
		return fmt.Errorf("the health check of %s failed: %w", addr, err)
	}
	client := http.Client{Transport: &http.Transport{Proxy: nil}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("the health check failed: %w; %s", err, healthAdvice)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the server at %s answers %s; %s", addr, response.Status, healthAdvice)
	}
	return nil
}
