package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/hibari/hibari"

// arrows says which packages of ours each package may import. A package that
// is not listed fails the test: new packages are decided here.
var arrows = map[string][]string{
	"internal/tenant":          {},
	"internal/mail":            {"internal/tenant"},
	"internal/browsertest":     {},
	"internal/sheet":           {},
	"internal/sfu/packet":      {},
	"internal/sfu/codec":       {},
	"internal/sfu/wire":        {},
	"internal/sfu/transport":   {"internal/sfu/wire"},
	"internal/sfu":             {"internal/tenant", "internal/sfu/packet", "internal/sfu/codec", "internal/sfu/transport"},
	"internal/sfu/sfutest":     {"internal/tenant", "internal/sfu", "internal/sfu/codec", "internal/sfu/transport"},
	"internal/signaling":       {"internal/tenant", "internal/sfu"},
	"internal/cluster":         {"internal/tenant"},
	"internal/billing":         {"internal/tenant", "internal/billing/rating"},
	"internal/billing/rating":  {},
	"internal/billing/invoice": {"internal/tenant", "internal/billing", "internal/billing/rating"},
	"internal/webhooks":        {"internal/tenant"},
	"internal/stats":           {"internal/tenant", "internal/sfu"},
	"internal/api":             {"internal/tenant", "internal/sheet", "internal/billing", "internal/billing/rating", "internal/billing/invoice", "internal/billing/invoice/paper", "internal/cluster", "internal/webhooks", "internal/stats", "internal/sfu"},
	"ui":                       {"internal/tenant", "internal/sheet", "internal/billing", "internal/billing/rating", "internal/billing/invoice", "internal/billing/invoice/paper", "internal/billing/invoice/pdf", "internal/cluster", "internal/webhooks", "internal/stats", "internal/sfu"},
	"migrations":               {},
	"migrations/privatepg":     {},
	"migrations/dbtest":        {"migrations", "migrations/privatepg"},
	"cmd/platform": {
		"internal/tenant", "internal/sheet", "internal/api", "internal/sfu", "internal/sfu/transport", "internal/sfu/wire", "internal/signaling", "internal/cluster",
		"internal/billing", "internal/billing/rating", "internal/billing/invoice", "internal/webhooks", "internal/stats", "internal/mail", "ui", "migrations", "migrations/privatepg", "cmd/platform/load",
		"cmd/platform/load/naive", "cmd/platform/load/plane", "cmd/platform/load/suite",
	},
	"cmd/platform/load":         {},
	"cmd/platform/load/naive":   {},
	"cmd/platform/load/plane":   {"cmd/platform/load", "internal/tenant", "internal/sfu", "internal/sfu/transport", "internal/sfu/wire"},
	"cmd/platform/load/suite":   {"cmd/platform/load", "cmd/platform/load/plane", "migrations/privatepg"},
	"cmd/platform/e2e":          {},
	"cmd/platform/e2e/visitors": {"cmd/platform/load"},
	"docs/examples/token-go":    {},
	"docs/examples/webhook-go":  {},
	"docs/examples/stream-go":   {},

	"internal/billing/invoice/pdf":   {},
	"internal/billing/invoice/paper": {"internal/sheet", "internal/billing/rating", "internal/billing/invoice", "internal/billing/invoice/pdf"},
}

// forTests are what test files may import besides what their package may.
var forTests = []string{"migrations", "migrations/dbtest", "migrations/privatepg", "internal/browsertest", "internal/sfu/sfutest", "internal/sfu/transport", "internal/sfu", "internal/tenant", "internal/webhooks", "cmd/platform/load"}

// TestImports reads the sources itself: go list's answer would be cached by
// go test, which cannot see what a child process reads.
func TestImports(t *testing.T) {
	root := os.DirFS(filepath.Join("..", ".."))
	seen := map[string]bool{}
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
		if path.Ext(name) != ".go" {
			return nil
		}
		seen[path.Dir(name)] = true
		checkFile(t, root, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range seen {
		if _, declared := arrows[pkg]; !declared {
			t.Errorf("package %s is not declared in arrows", pkg)
		}
	}
	if len(seen) < len(arrows)/2 {
		t.Errorf("found only %d packages: is the test looking at the repository?", len(seen))
	}
}

// checkFile fails the test for every import in one file that no arrow allows.
func checkFile(t *testing.T, root fs.FS, name string) {
	t.Helper()
	source, err := fs.ReadFile(root, name)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	own := path.Dir(name)
	allowed := arrows[own]
	if strings.HasSuffix(name, "_test.go") {
		allowed = append(slices.Clone(allowed), append(forTests, own)...)
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		ours, ok := strings.CutPrefix(imported, module+"/")
		if ok && !slices.Contains(allowed, ours) {
			t.Errorf("%s imports %s, which no arrow allows", name, ours)
		}
	}
}
