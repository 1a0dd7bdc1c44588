package app_test

import (
	"reflect"
	"strings"
	"testing"

	"sidecast/config"
	"sidecast/relay/app"
)

// Every setting under the heading Limits is a gauge, in the order of the table
// and with the value that is in force.
func TestEveryLimitIsAGauge(t *testing.T) {
	limits := app.LimitGauges(load(t, map[string]string{
		"EMBEDDED": "true", "MAX_CONNECTIONS": "7", "OUTBOX_TOTAL_BYTES": "300MiB", "HISTORY_AGE": "90s", "COMMAND_RATE": "30",
	}))
	values := make(map[string]float64)
	var got []string
	for _, limit := range limits {
		values[limit.Setting] = limit.Value
		got = append(got, limit.Setting)
	}
	want := []string{"auth_concurrency"}
	tags := reflect.TypeFor[config.Limits]()
	for field := range tags.Fields() {
		want = append(want, settingName(field.Name))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the limits are\n%q, want\n%q", got, want)
	}
	for setting, value := range map[string]float64{
		"max_connections": 7, "outbox_total_bytes": 300 << 20, "history_age": 90, "command_rate": 30, "max_channels_per_session": 128,
	} {
		if values[setting] != value {
			t.Errorf("%s is %v, want %v", setting, values[setting], value)
		}
	}
	t.Setenv("SIDECAST_MAX_CONNECTIONS", "auto")
	for _, limit := range app.LimitGauges(load(t, nil)) {
		if limit.Value <= 0 {
			t.Errorf("%s is %v", limit.Setting, limit.Value)
		}
	}
}

// settingName returns the name of a setting, in lower case, from that of its
// field.
func settingName(field string) string {
	var name strings.Builder
	for i, r := range field {
		upper := r >= 'A' && r <= 'Z'
		after := i > 0 && field[i-1] >= 'a' && field[i-1] <= 'z'
		if upper && after {
			name.WriteByte('_')
		}
		name.WriteRune(r)
	}
	return strings.ToLower(name.String())
}
