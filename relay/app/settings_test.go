package app_test

import (
	"testing"

	"sidecast/relay/app"
)

// The version of RESP in the URL counts, unless the setting gives another.
func TestRedisProtocol(t *testing.T) {
	for _, tt := range []struct {
		url, setting string
		want         int
	}{
		{"redis://redis", "", 2}, {"redis://redis?protocol=3", "", 3}, {"redis://redis?protocol=3", "2", 2}, {"redis://redis", "3", 3},
	} {
		t.Run(tt.url+" "+tt.setting, func(t *testing.T) {
			environment := map[string]string{"REDIS_URL": tt.url, "CHANNELS": "*", "PUBLIC_CHANNELS": "*"}
			if tt.setting != "" {
				environment["REDIS_PROTOCOL"] = tt.setting
			}
			if s, faults := app.Translate(load(t, environment)); s.Redis.Protocol != tt.want || len(faults) > 0 {
				t.Errorf("the protocol is %d, %v, want %d", s.Redis.Protocol, faults, tt.want)
			}
		})
	}
}
