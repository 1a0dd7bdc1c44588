package web_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"
)

var loadClients = flag.Int("load-clients", 600, "how many clients of TestSpreadOfLoads load again after a gap: hundreds")

// spreadScript connects clients, a few at a time, and prints when each run of
// load was due. A process that is late runs several timers at once, which says
// nothing about the client.
const spreadScript = `
let due
const wait = setTimeout
globalThis.setTimeout = (f, ms, ...rest) => {
	const at = Date.now() + ms
	return wait(() => { due = at; f(...rest); due = undefined }, ms)
}
const { connect } = await import('sidecast')
const { WebSocket } = await import('ws')
const [url, count] = process.argv.slice(2)
for (let i = 0; i < count; i++) {
	await new Promise((resolve) => {
		let runs = 0
		connect(url, { WebSocket }).channel('chat', { load: () => {
			if (runs++) emit('load', due ?? Date.now())
			else resolve()
		} })
	})
	if ((i + 1) % 100 === 0) emit('connected', i + 1)
}
`

// maxLoads is how often the application has to answer in one second.
const maxLoads = 250

// TestSpreadOfLoads: after an outage of Redis, which is a gap for all clients,
// they do not all load at once. The long form:
//
//	go test ./relay/web -run TestSpreadOfLoads -v -load-clients 5000
func TestSpreadOfLoads(t *testing.T) {
	relay, redis := startProcess(t, nil)
	script := node(t, npmInstall(t, "ws@8"), emit+spreadScript, relay.URL(), fmt.Sprint(*loadClients))
	for i := range *loadClients / 100 {
		script.await("connected", i)
	}
	redis.Kill()
	relay.AwaitMessage("redis connection lost; messages published until it is back are lost and clients get a gap")
	redis.Restart()
	for i := 99; i < *loadClients; i += 100 {
		script.await("load", i)
	}
	var due []time.Duration
	for _, event := range script.since(0) {
		var ms float64
		if event.Kind == "load" && json.Unmarshal(event.Value, &ms) == nil {
			due = append(due, time.Duration(ms)*time.Millisecond)
		}
	}
	slices.Sort(due)
	most, first := 0, 0
	for last := range due {
		for due[last]-due[first] >= time.Second {
			first++
		}
		most = max(most, last-first+1)
	}
	t.Logf("%d loads in %v, at most %d in a second", len(due), due[len(due)-1]-due[0], most)
	if most > maxLoads || len(due) != *loadClients {
		t.Errorf("%d clients, %d loads, and %d of them in one second", *loadClients, len(due), most)
	}
}
