package pusher

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
)

// maxQuestionBytes bounds the body of a client's question.
const maxQuestionBytes = 8 << 10

// A question is what a client sends to get a signature.
type question struct {
	SocketID string `json:"socket_id"`
	Channel  string `json:"channel_name"`
}

// readQuestion reads the query of a GET request, as Laravel does, and the form or
// the JSON object of a POST request. It leaves nothing of the body unread: over
// HTTP/2, that would delay other requests while the application is asked.
func readQuestion(w http.ResponseWriter, r *http.Request) (q question, refused *broadcastRefusal) {
	switch r.Method {
	case http.MethodGet:
		if r.ContentLength != 0 {
			return q, malformed
		}
		query := r.URL.Query()
		q = question{SocketID: query.Get("socket_id"), Channel: query.Get("channel_name")}
	case http.MethodPost:
		if q, refused = readBody(w, r); refused != nil {
			return q, refused
		}
	default:
		return q, wrongMethod
	}
	if q.SocketID == "" || q.Channel == "" {
		return q, incomplete
	}
	return q, nil
}

func readBody(w http.ResponseWriter, r *http.Request) (q question, refused *broadcastRefusal) {
	r.Body = http.MaxBytesReader(w, r.Body, maxQuestionBytes)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/json" {
		text, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(text, &q) != nil {
			return q, malformed
		}
		return q, nil
	}
	if r.ParseForm() != nil {
		return q, malformed
	}
	return question{SocketID: r.PostForm.Get("socket_id"), Channel: r.PostForm.Get("channel_name")}, nil
}

// writeJSON answers a client.
func writeJSON(w http.ResponseWriter, status int, value any) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client may have gone
}
