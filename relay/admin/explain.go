package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"sidecast/relay/trace"
)

// explainTimeout bounds how long one question about a channel takes, waiting for
// other ones included.
const explainTimeout = 10 * time.Second

// An Explainer says what happens to the messages of a channel.
type Explainer func(ctx context.Context, channel string) *trace.Explanation

// explainHandler answers /explain?channel=NAME. One question at a time is
// answered, because it may compare the names of all channels.
func explainHandler(explain Explainer) http.HandlerFunc {
	turn := make(chan struct{}, 1)
	return func(w http.ResponseWriter, r *http.Request) {
		channel, problem := oneChannel(r.URL.RawQuery)
		if problem != "" {
			http.Error(w, problem, http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), explainTimeout)
		defer cancel()
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			http.Error(w, "other questions are being answered: ask again", http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, explain(ctx, channel))
	}
}

// oneChannel returns the channel that a query names, or why it does not.
func oneChannel(query string) (channel, problem string) {
	values, err := url.ParseQuery(query)
	switch named := values["channel"]; {
	case err != nil:
		return "", "the query cannot be read: percent-encode the name of the channel"
	case len(named) != 1:
		return "", "name one channel in the URL, like ?channel=chat"
	default:
		return named[0], ""
	}
}

func writeJSON(w http.ResponseWriter, answer any) {
	text, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, "the answer cannot be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}
