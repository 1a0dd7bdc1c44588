package sse

import "net/http"

// allowOrigin lets the page that sent a request read the answer. The origin is
// one that may connect: the caller of the handler has checked it.
func allowOrigin(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true")
	}
}

// answerPreflight lets a page send the headers that the relay reads. EventSource
// sends none of them; a page that reads the stream with fetch may.
func answerPreflight(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Access-Control-Allow-Methods", http.MethodGet)
	header.Set("Access-Control-Allow-Headers", "Authorization, Cache-Control, Last-Event-ID")
	header.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}
