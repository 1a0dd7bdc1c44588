package source

import "github.com/redis/go-redis/v9"

// NewClient returns a client for single commands to the server. It dials as the link does, never retries, and is closed
// by the caller.
func NewClient(s Server) (redis.UniversalClient, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	quiet()
	return redis.NewUniversalClient(s.options()), nil
}
