package tenant

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// mayBeNamedSo are flags and counts whose names sound like secrets.
var mayBeNamedSo = map[string]bool{"token_barred": true, "tokens_barred": true, "accept_signing_secret": true, "recovery_codes_left": true, "signing_keys": true, "api_keys": true}

// Every entry that the sources write names its action in one form, and no field
// that may hold a secret is given a value of its own: redaction is the second line.
func TestAuditEntriesInTheSources(t *testing.T) {
	action := regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$`)
	writers := map[string]bool{"audit": true, "Audit": true, "AuditOperator": true, "auditLog": true, "auditOperator": true}
	actions := map[string]bool{}
	for _, root := range []string{"../../internal", "../../ui", "../../cmd/platform"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "_templ.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if literal, ok := n.(*ast.CompositeLit); ok && isDiff(literal.Type) {
					checkDiff(t, files, literal)
				}
				call, ok := n.(*ast.CallExpr)
				if !ok || !writers[calledName(call)] {
					return true
				}
				for _, argument := range call.Args {
					if text, ok := argument.(*ast.BasicLit); ok && text.Kind == token.STRING && text.Value != `""` {
						name, _ := strconv.Unquote(text.Value)
						if !action.MatchString(name) {
							t.Errorf("%s: the action %q is not of the form thing.done", files.Position(text.Pos()), name)
						}
						actions[name] = true
						break
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, known := range []string{"login", "login.failed", "tenant.created", "api_key.created", "webhook_endpoint.created", "connection.disconnected", "operator.removed"} {
		if !actions[known] {
			t.Errorf("nothing writes %s: does the test see the sources?", known)
		}
	}
}

func calledName(call *ast.CallExpr) string {
	switch called := call.Fun.(type) {
	case *ast.Ident:
		return called.Name
	case *ast.SelectorExpr:
		return called.Sel.Name
	}
	return ""
}

func isDiff(of ast.Expr) bool {
	switch of := of.(type) {
	case *ast.Ident:
		return of.Name == "Diff"
	case *ast.SelectorExpr:
		return of.Sel.Name == "Diff"
	}
	return false
}

// checkDiff wants Redacted for both values of a field whose name sounds like a
// secret.
func checkDiff(t *testing.T, files *token.FileSet, diff *ast.CompositeLit) {
	for _, element := range diff.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		key, ok := pair.Key.(*ast.BasicLit)
		if !ok {
			continue
		}
		name, _ := strconv.Unquote(key.Value)
		values, ok := pair.Value.(*ast.CompositeLit)
		if !ok || !secretName(name) || mayBeNamedSo[name] {
			continue
		}
		for _, value := range values.Elts {
			switch value := value.(type) {
			case *ast.Ident:
				if value.Name == "nil" || value.Name == "Redacted" || value.Name == "true" || value.Name == "false" {
					continue
				}
			case *ast.SelectorExpr:
				if value.Sel.Name == "Redacted" {
					continue
				}
			}
			t.Errorf("%s: the field %s is given a value of its own; write Redacted", files.Position(pair.Pos()), name)
		}
	}
}
