package source

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// RunID returns the run_id of the server that answers, which differs between all
// servers, or an empty string if the server does not report it to this user. A
// cluster has several.
func RunID(ctx context.Context, client redis.UniversalClient) string {
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return ""
	}
	return infoField(info, "run_id")
}

// Databases returns the numbers of the databases that have keys.
func Databases(ctx context.Context, client redis.UniversalClient) ([]int, error) {
	info, err := client.Info(ctx, "keyspace").Result()
	if err != nil {
		return nil, fmt.Errorf("listing the databases: %w", err)
	}
	var list []int
	for line := range strings.Lines(info) {
		name, _, _ := strings.Cut(line, ":")
		if number, ok := strings.CutPrefix(name, "db"); ok {
			if n, err := strconv.Atoi(number); err == nil {
				list = append(list, n)
			}
		}
	}
	slices.Sort(list)
	return list, nil
}

// IsDenied reports whether Redis has refused a command because the user lacks a
// right.
func IsDenied(err error) bool { return err != nil && isDenied(replyOf(err)) }
