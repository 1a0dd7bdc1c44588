// Package command holds the commands beside serving: what a person types at a shell. Each is a function that writes for
// people, returns an error that says what to do next, and knows nothing of the environment. It assembles: it talks to
// Redis through relay/source's checks and to a relay through relay/ws.
package command
