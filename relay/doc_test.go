package relay

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every promise in the package comment names a test that exists.
func TestPromisesHaveTests(t *testing.T) {
	named := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(packageComment(t), -1)
	if len(named) < 10 {
		t.Fatalf("only %d tests are named", len(named))
	}
	var tests strings.Builder
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range named {
		if !strings.Contains(tests.String(), "func "+name+"(t *testing.T)") {
			t.Errorf("doc.go names the test %s, which does not exist", name)
		}
	}
}

// Every Go identifier in the package comment exists: Type.Member of this package,
// and package.Name or package.Type.Member of the packages below it.
func TestDocIdentifiersExist(t *testing.T) {
	known := declarations(t, ".", "")
	for _, below := range []string{"access", "history", "outbox", "protocol", "roster", "stats", "stream"} {
		known = append(known, declarations(t, below, below+".")...)
		known = append(known, declarations(t, below, "")...)
	}
	doc := packageComment(t)
	named := regexp.MustCompile(`\b[A-Za-z]\w*(?:\.[A-Za-z]\w*)+`).FindAllString(doc, -1)
	named = append(named, regexp.MustCompile(`\[(\w+)\]`).FindAllString(doc, -1)...)
	checked := 0
	for _, name := range named {
		name = strings.Trim(name, "[]")
		if strings.HasSuffix(name, ".go") {
			if _, err := os.Stat(name); err != nil {
				t.Errorf("doc.go names the file %s, which does not exist", name)
			}
			continue
		}
		checked++
		if !slices.Contains(known, name) {
			t.Errorf("doc.go names %s, which does not exist", name)
		}
	}
	if checked < 20 {
		t.Errorf("only %d identifiers found", checked)
	}
}

// Every production file has a line in the package comment.
func TestDocListsEveryFile(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	doc := packageComment(t)
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") && file != "doc.go" && !strings.Contains(doc, "\t"+file+" ") {
			t.Errorf("doc.go does not list %s", file)
		}
	}
}

func packageComment(t *testing.T) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return file.Doc.Text()
}

// declarations returns what the production files of a directory declare, with
// prefix: names, and Type.Member for fields and methods.
func declarations(t *testing.T, dir, prefix string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range file.Decls {
			switch d := declared.(type) {
			case *ast.FuncDecl:
				names = append(names, prefix+receiver(d)+d.Name.Name)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if s, ok := spec.(*ast.TypeSpec); ok {
						names = append(names, prefix+s.Name.Name)
						names = append(names, members(s, prefix+s.Name.Name+".")...)
					}
				}
			}
		}
	}
	return names
}

// receiver returns "Type." for a method and "" for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	expr := d.Recv.List[0].Type
	if star, ok := expr.(*ast.StarExpr); ok {
		expr = star.X
	}
	if generic, ok := expr.(*ast.IndexExpr); ok {
		expr = generic.X
	}
	return expr.(*ast.Ident).Name + "."
}

// members returns the fields of a struct and the methods of an interface.
func members(s *ast.TypeSpec, prefix string) (names []string) {
	var list *ast.FieldList
	switch typ := s.Type.(type) {
	case *ast.StructType:
		list = typ.Fields
	case *ast.InterfaceType:
		list = typ.Methods
	default:
		return nil
	}
	for _, field := range list.List {
		for _, name := range field.Names {
			names = append(names, prefix+name.Name)
		}
	}
	return names
}
