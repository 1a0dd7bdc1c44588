package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/app"
	"sidecast/relay/embedded"
	"sidecast/relay/source"
)

// publish sends one message as an application would: by PUBLISH, or by XADD if
// the channel is durable.
func publish(ctx context.Context, p *Program, args []string) error {
	channel, payload := args[0], []byte(args[1])
	if args[1] == "-" {
		var err error
		if payload, err = io.ReadAll(p.Stdin); err != nil {
			return fmt.Errorf("reading standard input: %w", err)
		}
	}
	client, s, err := p.redis()
	if err != nil {
		return err
	}
	defer client.Close()
	names := s.Access.Names
	if err := checkName(names, channel); err != nil {
		return err
	}
	if s.Access.Durable.Match(channel) {
		streams := source.NewStreams(client, source.Config{Server: s.Redis, Names: names, StreamLength: s.StreamLength})
		id, err := streams.Append(ctx, channel, payload)
		if err != nil {
			return fmt.Errorf("adding to the stream: %s; run `sidecast check`", s.Redis.Redact(err))
		}
		fmt.Fprintf(p.Stdout, "added to the stream %s as %v\n", channel, id)
		return nil
	}
	receivers, err := client.Publish(ctx, names.Redis(channel), payload).Result()
	if err != nil {
		return fmt.Errorf("publishing to Redis: %s; run `sidecast check`", s.Redis.Redact(err))
	}
	_, err = fmt.Fprintf(p.Stdout, "published to %s: %s\n", channel, meaning(receivers, s.Redis.Mode == source.Cluster))
	return err
}

// meaning explains the number that PUBLISH returns. It is usually taken
// for the number of browsers.
func meaning(receivers int64, cluster bool) string {
	where := ""
	if cluster { // Redis does not count the subscribers of other nodes
		where = " on one node of the cluster"
	}
	switch {
	case receivers == 0 && cluster:
		return "no Redis subscribers" + where + "; Redis does not count those of other nodes"
	case receivers == 0:
		return "nothing subscribes to it in Redis: is a relay running, and does the channel match its SIDECAST_CHANNELS?"
	case receivers == 1:
		return "1 Redis subscriber" + where + ", usually the relay; browsers are not counted"
	}
	return fmt.Sprintf("%d Redis subscribers%s, such as relays; browsers are not counted", receivers, where)
}

// redis returns a client for the configured Redis, or for that of the embedded
// relay that runs on this machine.
func (p *Program) redis() (redis.UniversalClient, *app.Settings, error) {
	cfg, s, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	if cfg.IsEmbedded() {
		running, err := embedded.ReadRunfile()
		if err != nil {
			return nil, nil, err
		}
		s.Redis = source.Server{Address: running.Redis, Protocol: int(cfg.RedisProtocol)}
	}
	client, err := source.NewClient(s.Redis, s.Access.Names)
	return client, s, err
}

func checkName(names access.Names, channel string) error {
	if !access.ValidChannel(channel) {
		return fmt.Errorf("%q is not a valid channel name: write 1 to %d bytes of UTF-8 without control characters",
			channel, access.MaxChannelName)
	}
	if names.Reserved(channel) {
		return fmt.Errorf("%q is a reserved name: browsers cannot subscribe to it", channel)
	}
	return nil
}
