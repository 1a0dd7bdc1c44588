package redistest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// RightsDocument is the document that lists the rights of the relay's user.
const RightsDocument = "relay/source/README.md"

var (
	link  = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)
	quote = regexp.MustCompile("`([^`]*)`")
)

// Rights returns the rights that [RightsDocument] lists for a feature, in
// addition to those of every relay. The line of the feature begins with the
// given text.
func Rights(t testing.TB, feature string) []string {
	t.Helper()
	_, table, _ := strings.Cut(readDocument(t), "### Rights for single features")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(cells) < 4 || !strings.HasPrefix(strings.TrimSpace(link.ReplaceAllString(cells[1], "$1")), feature) {
			continue
		}
		rights := quote.FindStringSubmatch(cells[3])
		if rights == nil {
			break
		}
		return strings.Fields(strings.ReplaceAll(rights[1], "\x00", "|"))
	}
	t.Fatalf("%s lists no rights for %q", RightsDocument, feature)
	return nil
}

// readDocument returns the text of the document in the module of the test.
func readDocument(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	text, err := os.ReadFile(filepath.Join(dir, RightsDocument))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
