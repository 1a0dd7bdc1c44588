package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"sync"
	"time"

	"sidecast/relay/why"
)

const (
	// whyTimeout bounds how long a relay may take to answer: it answers one
	// question at a time.
	whyTimeout = time.Minute
	// maxWhyAnswer bounds the answer of a relay, in bytes.
	maxWhyAnswer = 32 << 20
)

// askRelays asks all relays at the same time. Without URLs, it asks the relay on
// this machine.
func askRelays(ctx context.Context, urls []string, q why.Question) ([]whyAnswer, error) {
	relays, err := adminRelays(urls)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, whyTimeout)
	defer cancel()
	answers := make([]whyAnswer, len(relays))
	var asking sync.WaitGroup
	for i, r := range relays {
		if len(relays) > 1 {
			answers[i].relay = r.base
		}
		asking.Go(func() { answers[i].lines, answers[i].err = r.why(ctx, q) })
	}
	asking.Wait()
	return answers, nil
}

// why asks one relay.
func (r adminRelay) why(ctx context.Context, q why.Question) ([]why.Line, error) {
	_, zone := q.From.Zone()
	response, err := r.get(ctx, "/why", url.Values{
		"channel": {q.Channel}, "user": {q.User}, "session": {q.Session}, "zone": {strconv.Itoa(zone)},
		"from": {strconv.FormatInt(q.From.UnixMilli(), 10)}, "to": {strconv.FormatInt(q.To.UnixMilli(), 10)},
	})
	if err != nil {
		if advice := relayAdvice(err); advice != "" {
			err = fmt.Errorf("%w; %s", err, advice)
		}
		return nil, err
	}
	defer response.Body.Close()
	if response.Header.Get("Content-Type") != "application/x-ndjson" {
		return nil, fmt.Errorf("the server at %s does not answer like a relay; %s", r.base, relayHint)
	}
	lines, err := readLines(io.LimitReader(response.Body, maxWhyAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer of the relay at %s breaks off: %w", r.base, err)
	}
	return lines, nil
}

func readLines(from io.Reader) (lines []why.Line, err error) {
	in := json.NewDecoder(from)
	for {
		var line why.Line
		switch err := in.Decode(&line); {
		case errors.Is(err, io.EOF):
			return lines, nil
		case err != nil:
			return nil, err
		}
		lines = append(lines, line)
	}
}
