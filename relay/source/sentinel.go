package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// sentinelTimeout is how long one Sentinel may take to answer, including the
// login.
const sentinelTimeout = time.Second

var (
	errNoMaster      = errors.New("the Sentinel does not know a master with this name")
	errMasterChanged = errors.New("the Sentinels name another master, which is where the application publishes now")
)

// sentinelError reports why no Sentinel returned the master's address.
type sentinelError struct{ err error }

func (e *sentinelError) Error() string {
	return "asking the Sentinels for the master: " + e.err.Error()
}
func (e *sentinelError) Unwrap() error { return e.err }

// master asks all Sentinels at once for the master's address and returns the
// most frequent answer, and one of the Sentinels that gave it. The answer is certain if more than half of the
// configured Sentinels gave it, or all that answered: a single Sentinel may
// have missed a failover, or be on the wrong side of a network split. It
// returns as soon as the answer is certain.
func (s Server) master(ctx context.Context) (master announcement, certain bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, sentinelTimeout)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	type answer struct {
		announcement
		err error
	}
	sentinels := s.addresses()
	answers := make(chan answer, len(sentinels))
	for _, sentinel := range sentinels {
		asking.Go(func() {
			addr, err := s.askSentinel(ctx, sentinel)
			answers <- answer{announcement{addr, "Sentinel " + sentinel}, err}
		})
	}
	votes, answered := make(map[string]int), 0
	var errs []error
	for range sentinels {
		a := <-answers
		if a.err != nil {
			errs = append(errs, a.err)
			continue
		}
		answered++
		votes[a.addr]++
		if votes[a.addr] > votes[master.addr] {
			master = a.announcement
		}
		if votes[master.addr] > len(sentinels)/2 {
			return master, true, nil
		}
	}
	if answered == 0 {
		return announcement{}, false, &sentinelError{errors.Join(errs...)}
	}
	return master, votes[master.addr] == answered, nil
}

// askSentinel asks one Sentinel for the master's address.
func (s Server) askSentinel(ctx context.Context, sentinel string) (string, error) {
	client := redis.NewSentinelClient(&redis.Options{
		Addr: sentinel, Username: s.SentinelUsername, Password: s.SentinelPassword, Protocol: 2, Dialer: s.dial,
		MaxRetries: -1, DialerRetries: 1, DialTimeout: sentinelTimeout, ReadTimeout: sentinelTimeout,
		WriteTimeout: sentinelTimeout, PoolSize: 1, ContextTimeoutEnabled: true, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	defer client.Close()
	parts, err := client.GetMasterAddrByName(ctx, s.MasterName).Result()
	switch {
	case errors.Is(err, redis.Nil), err == nil && len(parts) != 2:
		return "", fmt.Errorf("%s: %w", sentinel, errNoMaster)
	case err != nil:
		return "", fmt.Errorf("%s: %w", sentinel, err)
	}
	return net.JoinHostPort(parts[0], parts[1]), nil
}
