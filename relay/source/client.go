package source

import (
	"context"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
)

// NewClient returns a client for single commands to the server. It dials as the
// link does and never retries; the caller closes it. In a cluster it publishes
// at the node to which the relays with these names listen, so that the number
// of receivers that Redis returns includes them.
func NewClient(s Server, names access.Names) (redis.UniversalClient, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	silenceGoRedis()
	client := newClient(s.options())
	if cluster, ok := client.(*redis.ClusterClient); ok {
		return &clusterClient{cluster, names.Marker()}, nil
	}
	return client, nil
}

// clusterClient is a cluster client that publishes at one node.
type clusterClient struct {
	*redis.ClusterClient
	marker string
}

// Publish sends one message to the master of the marker channel's slot.
func (c *clusterClient) Publish(ctx context.Context, channel string, message any) *redis.IntCmd {
	node, err := c.MasterForKey(ctx, c.marker)
	if err != nil {
		cmd := redis.NewIntCmd(ctx)
		cmd.SetErr(err)
		return cmd
	}
	return node.Publish(ctx, channel, message)
}
