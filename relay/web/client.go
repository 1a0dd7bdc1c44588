package web

import (
	"embed"
	"net/http"
	"path"
)

//go:embed client/*.js client/*.mjs client/*.ts
var client embed.FS

// clientTypes are the content types of the client's files, by extension.
var clientTypes = map[string]string{
	".js":  "text/javascript; charset=utf-8",
	".mjs": "text/javascript; charset=utf-8",
	".ts":  "application/typescript; charset=utf-8",
}

// npmOnly are the files that import other packages by name, which browsers
// cannot resolve. They are only in the npm package.
var npmOnly = map[string]bool{"react.mjs": true, "react.d.ts": true, "vue.mjs": true, "vue.d.ts": true}

// Client returns the handlers of the JavaScript client's files, by name. Pages
// of any origin may load them. They are safe for concurrent use.
func Client() map[string]http.Handler {
	entries, err := client.ReadDir("client")
	if err != nil {
		panic(err) // the build lacks the folder
	}
	handlers := make(map[string]http.Handler)
	for _, entry := range entries {
		name := entry.Name()
		content, err := client.ReadFile("client/" + name)
		if err != nil {
			panic(err)
		}
		if !npmOnly[name] {
			handlers[name] = forAnyOrigin(static(clientTypes[path.Ext(name)], content))
		}
	}
	return handlers
}

// forAnyOrigin allows pages of other origins to load what the handler serves,
// as a module and also with `Cross-Origin-Embedder-Policy: require-corp`.
func forAnyOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
		next.ServeHTTP(w, r)
	})
}
