package transport

import (
	"net/http"
	"strings"
)

// AllowOrigin lets the page that sent a request read the answer, also if the
// browser sent cookies. The origin is one that may connect: the caller's caller
// has checked it.
func AllowOrigin(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true")
	}
}

// AnswerPreflight lets a page send requests with these methods and headers. Its
// caller has called [AllowOrigin].
func AnswerPreflight(w http.ResponseWriter, methods, headers []string) {
	header := w.Header()
	header.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	header.Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
	header.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}
