package e2e_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link        = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// TestLinks: each relative link in a Markdown file leads to a file of the
// repository and, if it has an anchor, to a heading there.
func TestLinks(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules" || entry.Name() == "testdata"):
			return fs.SkipDir
		case filepath.Ext(path) == ".md":
			checkLinks(t, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkLinks(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range link.FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(match[1], "://") {
			continue
		}
		name, anchor, _ := strings.Cut(match[1], "#")
		target := path
		if name != "" {
			target = filepath.Join(filepath.Dir(path), name)
		}
		if _, err := os.Stat(target); err != nil {
			t.Errorf("%s links to %s, which does not exist", path, match[1])
		} else if anchor != "" && !hasHeading(t, target, anchor) {
			t.Errorf("%s links to %s, but there is no such heading", path, match[1])
		}
	}
}

// hasHeading reports whether GitHub gives a heading of a file this anchor.
func hasHeading(t *testing.T, path, anchor string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		heading := strings.TrimSpace(strings.TrimLeft(line, "#"))
		heading = notInAnchor.ReplaceAllString(strings.ToLower(heading), "")
		if strings.HasPrefix(line, "#") && strings.ReplaceAll(heading, " ", "-") == anchor {
			return true
		}
	}
	return false
}
