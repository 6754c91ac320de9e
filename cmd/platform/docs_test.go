package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLimitsExist holds docs/limits.md against the sources: every constant and
// field it names must be declared in the package it names, and every metric
// must be one of ours.
func TestLimitsExist(t *testing.T) {
	page, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := declarations(t)
	named := regexp.MustCompile("`(tenant|sheet|api|billing|rating|invoice|cluster|webhooks|signaling|sfu|transport|wire|ui|main)\\.([A-Za-z.]+)`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 40 {
		t.Fatalf("found only %d names in the page", len(named))
	}
	for _, name := range named {
		if !declared[name[1]+"."+name[2]] {
			t.Errorf("docs/limits.md names %s.%s, which is not declared", name[1], name[2])
		}
	}
	metrics, err := os.ReadFile("metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile("`(hibari_[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
		if !strings.Contains(string(metrics), `"`+name[1]+`"`) {
			t.Errorf("docs/limits.md names the metric %s, which nothing collects", name[1])
		}
	}
}

// Each setting that is read must stand in the page of settings, and the other
// way round.
func TestSettingsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, s := range settings() {
		known[s.env] = true
		if !strings.Contains(string(page), s.env) {
			t.Errorf("docs/settings.md does not mention %s", s.env)
		}
	}
	for _, name := range regexp.MustCompile(`HIBARI_[A-Z_]+`).FindAllString(string(page), -1) {
		if !known[name] {
			t.Errorf("docs/settings.md mentions %s, which nothing reads", name)
		}
	}
}

// declarations returns the constants, variables and struct fields of the
// packages by "package.Name" and "package.Struct.Field".
func declarations(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, root := range []string{"../../internal", "../../ui", "."} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, d := range file.Decls {
				general, ok := d.(*ast.GenDecl)
				if !ok {
					continue
				}
				for _, spec := range general.Specs {
					for _, name := range namesOf(spec) {
						all[file.Name.Name+"."+name] = true
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func namesOf(spec ast.Spec) (names []string) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			names = append(names, name.Name)
		}
	case *ast.TypeSpec:
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			return nil
		}
		for _, field := range fields.Fields.List {
			for _, name := range field.Names {
				names = append(names, spec.Name.Name+"."+name.Name)
			}
		}
	}
	return names
}
