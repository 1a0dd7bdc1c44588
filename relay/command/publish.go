package command

import (
	"context"
	"fmt"
	"io"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/stream"
)

// Publish sends one message as an application would: by PUBLISH.
func Publish(ctx context.Context, client redis.UniversalClient, names access.Names, channel string, payload []byte, out io.Writer) error {
	if err := checkName(names, channel); err != nil {
		return err
	}
	receivers, err := client.Publish(ctx, names.Redis(channel), payload).Result()
	if err != nil {
		return fmt.Errorf("publishing to Redis: %w; run `sidecast check`", err)
	}
	if receivers == 0 {
		fmt.Fprintf(out, "published to %s, but nothing subscribes to it: is a relay running, and does the channel match its SIDECAST_CHANNELS?\n", channel)
		return nil
	}
	fmt.Fprintf(out, "published to %s; Redis subscribers that got it: %d\n", channel, receivers)
	return nil
}

// Append adds one message to a durable channel as an application would: by XADD.
func Append(ctx context.Context, streams stream.Store, names access.Names, channel string, payload []byte, out io.Writer) error {
	if err := checkName(names, channel); err != nil {
		return err
	}
	id, err := streams.Append(ctx, channel, payload)
	if err != nil {
		return fmt.Errorf("adding to the stream: %w; run `sidecast check`", err)
	}
	fmt.Fprintf(out, "added to the stream %s as %v\n", channel, id)
	return nil
}

func checkName(names access.Names, channel string) error {
	if !access.ValidChannel(channel) {
		return fmt.Errorf("%q cannot name a channel: 1 to %d bytes of UTF-8 without control characters", channel, access.MaxChannelName)
	}
	if names.Reserved(channel) {
		return fmt.Errorf("%q is a reserved name: no browser can hear it", channel)
	}
	return nil
}
