package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pastTheScope lists the functions that may ask the whole database although they
// are given a tenant's scope, and why.
var pastTheScope = map[string]string{
	"internal/tenant.Store.invite": "counts invitations in a table without rows of tenants, by a hash",
}

// pools are the names of the fields that hold the whole database.
var pools = []string{"pool", "Pool", "DB", "db"}

// function is one of ours, as far as this test looks.
type function struct {
	scoped bool     // it is given a tenant.Scope
	past   []string // where it asks the whole database
	calls  []string // the names of what it calls in its own package
}

// What is done on a tenant's behalf goes through its own view of the database.
// So a function that is given a scope uses a pool as scope.In(pool) alone, and
// calls nothing in its package, as a function or on its own receiver, that does
// otherwise.
func TestScopesAreNotPassedBy(t *testing.T) {
	var scoped int
	for _, dir := range []string{"internal/tenant", "internal/billing", "internal/billing/invoice", "internal/webhooks", "internal/cluster", "internal/api", "ui", "cmd/platform"} {
		functions := readFunctions(t, dir)
		for name, f := range functions {
			if !f.scoped {
				continue
			}
			scoped++
			key := dir + "." + name
			path := pathToPool(functions, name, nil)
			if _, allowed := pastTheScope[key]; allowed != (path != nil) {
				if allowed {
					t.Errorf("%s is on the list and does not pass its scope by", key)
				} else {
					t.Errorf("%s is given a scope and asks the whole database: %s", key, strings.Join(path, " → "))
				}
			}
		}
	}
	if scoped < 50 {
		t.Errorf("found only %d functions with a scope: is the test looking at the repository?", scoped)
	}
}

// pathToPool returns how a function comes to ask the whole database; nil: it
// does not.
func pathToPool(functions map[string]*function, name string, seen []string) []string {
	f := functions[name]
	if f == nil || slices.Contains(seen, name) {
		return nil
	}
	seen = append(seen, name)
	if len(f.past) > 0 {
		return append(slices.Clone(seen), f.past[0])
	}
	for _, call := range f.calls {
		if called := functions[call]; called != nil && called.scoped {
			continue // it is looked at by itself
		}
		if path := pathToPool(functions, call, seen); path != nil {
			return path
		}
	}
	return nil
}

// mechanism is where In itself is made.
const mechanism = "../../internal/tenant/isolation.go"

// readFunctions reads the functions of a package by name, methods by their
// receiver's and their own.
func readFunctions(t *testing.T, dir string) map[string]*function {
	t.Helper()
	functions := map[string]*function{}
	files, err := filepath.Glob(filepath.Join("..", "..", dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "_templ.go") || filepath.ToSlash(path) == mechanism {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(set, path, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if decl, ok := d.(*ast.FuncDecl); ok && decl.Body != nil {
				f := &function{}
				_, receiver := receiverOf(decl)
				functions[receiver+decl.Name.Name] = f
				f.read(set, decl)
			}
		}
	}
	return functions
}

// receiverOf returns the name of a method's receiver and its type's with a dot;
// of a function, nothing.
func receiverOf(decl *ast.FuncDecl) (name, kind string) {
	if decl.Recv == nil {
		return "", ""
	}
	field := decl.Recv.List[0]
	if len(field.Names) > 0 {
		name = field.Names[0].Name
	}
	of := field.Type
	for {
		switch e := of.(type) {
		case *ast.StarExpr:
			of = e.X
		case *ast.IndexExpr:
			of = e.X
		case *ast.IndexListExpr:
			of = e.X
		case *ast.Ident:
			return name, e.Name + "."
		default:
			return name, ""
		}
	}
}

// read notes what a declaration says.
func (f *function) read(set *token.FileSet, decl *ast.FuncDecl) {
	for _, parameter := range decl.Type.Params.List {
		f.scoped = f.scoped || isScope(parameter.Type)
	}
	own, kind := receiverOf(decl)
	isolated := map[ast.Expr]bool{} // what is given to In
	ast.Inspect(decl.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			switch called := n.Fun.(type) {
			case *ast.Ident:
				f.calls = append(f.calls, called.Name)
			case *ast.SelectorExpr:
				if on, ok := called.X.(*ast.Ident); ok && on.Name == own {
					f.calls = append(f.calls, kind+called.Sel.Name)
				}
				if called.Sel.Name == "In" && len(n.Args) == 1 {
					isolated[n.Args[0]] = true
				}
			}
		case *ast.SelectorExpr:
			if isolated[n] {
				return false
			}
			if slices.Contains(pools, n.Sel.Name) {
				f.past = append(f.past, fmt.Sprintf("%s (%s)", n.Sel.Name, set.Position(n.Pos())))
			}
		}
		return true
	})
}

// isScope reports whether a parameter is a tenant.Scope.
func isScope(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "Scope"
	case *ast.SelectorExpr:
		pkg, ok := e.X.(*ast.Ident)
		return ok && pkg.Name == "tenant" && e.Sel.Name == "Scope"
	}
	return false
}
