package why

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// The README describes each result, and no other.
func TestReadme(t *testing.T) {
	find := func(file, pattern string) (words []string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			words = append(words, match[1])
		}
		slices.Sort(words)
		return words
	}
	want := append(find("result.go", `Result = "(\w+)"`), "no_answer") // relay/cli adds this one
	slices.Sort(want)
	if got := find("README.md", "(?m)^\\| `(\\w+)` \\| [^|]+ \\| [^|]+ \\|$"); !slices.Equal(got, want) {
		t.Errorf("the README describes %q, want %q", got, want)
	}
}
