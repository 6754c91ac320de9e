package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// Every CSV of the product is written by internal/sheet, which keeps spreadsheets from
// taking what outsiders wrote for formulas. So nothing else has to do with CSV, or with its
// media type: whoever writes that by hand writes rows by hand.
func TestOnlySheetWritesCSV(t *testing.T) {
	root := os.DirFS(filepath.Join("..", ".."))
	writers := 0
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); base != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" || base == "data") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		source, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text := strings.ToLower(strings.Trim(literal.Value, "\"`"))
			if text == "encoding/csv" || strings.HasPrefix(text, "text/csv") {
				if writers++; path.Dir(name) != "internal/sheet" {
					t.Errorf("%s writes CSV by itself (%s): use internal/sheet", name, literal.Value)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if writers == 0 {
		t.Error("not even internal/sheet writes CSV: is the test looking at the repository?")
	}
}
