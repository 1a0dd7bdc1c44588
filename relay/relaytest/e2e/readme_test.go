package e2e_test

import (
	"os"
	"strings"
	"testing"
)

// A fence is a fenced snippet of the README: what stands behind the backticks, and its text.
type fence struct{ language, text string }

// fences returns the snippets of the README.
func fences(t testing.TB) (list []fence) {
	t.Helper()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(readme)) {
		language, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && !inside:
			list = append(list, fence{language: strings.TrimSpace(language)})
			inside = true
		case isFence:
			inside = false
		case inside:
			list[len(list)-1].text += line
		}
	}
	return list
}

// snippet returns the text of the README's only snippet of a language that holds part.
func snippet(t testing.TB, language, part string) string {
	t.Helper()
	var found []string
	for _, f := range fences(t) {
		if f.language == language && strings.Contains(f.text, part) {
			found = append(found, f.text)
		}
	}
	if len(found) != 1 {
		t.Fatalf("the README has %d snippets of %q with %q in them, want one", len(found), language, part)
	}
	return found[0]
}
