package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Money is whole minor units and exact decimals. A float in between is an amount that
// is wrong by a unit on some day, so there is none: in the packages of billing, and in
// each file of the console, the API and the command line that shows amounts. What is
// drawn by floats (charts, the places of things on a page) has files of its own.

const decimalPackage = "github.com/shopspring/decimal"

// inexact are the functions and methods of the decimal package that go through floats
// or round where nobody sees it. QuoRem divides exactly.
var inexact = []string{
	"NewFromFloat", "NewFromFloat32", "NewFromFloatWithExponent", "NewFromBigFloat", "NewFromBigRat", "Float64", "InexactFloat64", "BigFloat",
	"Div", "DivRound", "Avg", "Pow", "PowWithPrecision", "PowInt32", "Ln", "ExpHullAbrham", "ExpTaylor", "RoundCash", "StringFixedCash",
}

// drawing are the packages of billing in which floats are no amounts.
var drawing = map[string]string{
	"internal/billing/invoice/pdf": "places on a page",
}

// wiring are files that import what has to do with money and handle none of it.
var wiring = map[string]string{
	"internal/api/api.go": "holds the API's parts, and the rate of requests",
}

// listedPackage is a package as go list tells of it.
type listedPackage struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

// floats looks for floats in packages that are type-checked from source, with what they
// import as the compiler exported it.
type floats struct {
	fset    *token.FileSet
	exports map[string]string // import path: file
}

func newFloats(t *testing.T) (f *floats, ours []listedPackage) {
	t.Helper()
	list := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", "./internal/...", "./ui/...", "./cmd/...")
	list.Dir = filepath.Join("..", "..")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	f = &floats{token.NewFileSet(), map[string]string{}}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return f, ours
		} else if err != nil {
			t.Fatal(err)
		}
		f.exports[p.ImportPath] = p.Export
		if strings.HasPrefix(p.ImportPath, module+"/") {
			ours = append(ours, p)
		}
	}
}

// check type-checks the files of one package and says where they have floats: anywhere,
// with whole, and else in the files that import a package of money.
func (f *floats) check(path string, files []*ast.File, whole bool) (found []string, err error) {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(f.fset, "gc", func(path string) (io.ReadCloser, error) {
		if f.exports[path] == "" {
			return nil, fmt.Errorf("nothing exported by %s", path)
		}
		return os.Open(f.exports[path])
	})}
	if _, err := config.Check(path, f.fset, files, info); err != nil {
		return nil, err
	}
	for _, file := range files {
		// What templ generates is a page's text: charts, too, and no arithmetic of amounts.
		name := filepath.ToSlash(f.fset.Position(file.Pos()).Filename)
		page := strings.HasSuffix(name, "_templ.go") || wiring[name] != ""
		money := whole || !page && slices.ContainsFunc(file.Imports, func(spec *ast.ImportSpec) bool {
			name, _ := strconv.Unquote(spec.Path.Value)
			rest, ok := strings.CutPrefix(name, module+"/internal/billing/")
			return name == decimalPackage || ok && drawing["internal/billing/"+rest] == ""
		})
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && isMetric(info, call) {
				return false
			}
			if name, ok := n.(*ast.Ident); ok {
				used, _ := info.Uses[name].(*types.Func)
				if used != nil && used.Pkg() != nil && used.Pkg().Path() == decimalPackage && slices.Contains(inexact, used.Name()) {
					found = append(found, fmt.Sprintf("%s: decimal's %s is not exact", f.fset.Position(n.Pos()), used.Name()))
				}
			}
			if e, ok := n.(ast.Expr); ok && money && isFloat(info.Types[e]) {
				found = append(found, fmt.Sprintf("%s: a float where amounts are", f.fset.Position(n.Pos())))
				return false
			}
			return true
		})
	}
	return found, nil
}

// isMetric reports whether the call is one of the Prometheus client's, which counts in
// floats.
func isMetric(info *types.Info, call *ast.CallExpr) bool {
	var name *ast.Ident
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		name = f.Sel
	case *ast.Ident:
		name = f
	default:
		return false
	}
	used := info.Uses[name]
	return used != nil && used.Pkg() != nil && strings.HasPrefix(used.Pkg().Path(), "github.com/prometheus/")
}

// isFloat reports whether it is a float or the type of one. A whole number that is
// written in the source and handed to what wants a float is none.
func isFloat(t types.TypeAndValue) bool {
	if t.Type == nil || t.Value != nil && constant.ToInt(t.Value).Kind() == constant.Int {
		return false
	}
	basic, ok := t.Type.Underlying().(*types.Basic)
	return ok && basic.Info()&(types.IsFloat|types.IsComplex) != 0
}

// TestMoneyHasNoFloats is the lint; make lint runs it, too.
func TestMoneyHasNoFloats(t *testing.T) {
	f, ours := newFloats(t)
	checked := 0
	for _, p := range ours {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		var files []*ast.File
		mentions := false
		for _, name := range p.GoFiles {
			source, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			mentions = mentions || bytes.Contains(source, []byte(decimalPackage)) || bytes.Contains(source, []byte(module+"/internal/billing"))
			file, err := parser.ParseFile(f.fset, filepath.Join(path, name), source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		billing := path == "internal/billing" || strings.HasPrefix(path, "internal/billing/")
		if !mentions && !billing {
			continue
		}
		found, err := f.check(p.ImportPath, files, billing && drawing[path] == "")
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		for _, each := range found {
			t.Error(each)
		}
		checked++
	}
	if checked < 6 {
		t.Errorf("checked only %d packages", checked)
	}
}

// TestFloatsAreFound: the lint sees what it is for.
func TestFloatsAreFound(t *testing.T) {
	f, _ := newFloats(t)
	const head = `package p
import (
	"time"
	"github.com/shopspring/decimal"
	"github.com/prometheus/client_golang/prometheus"
)
var _, _, _ = time.Now, decimal.New, prometheus.NewRegistry
`
	for source, want := range map[string]int{
		`func f(n int64) int64 { return n * 110 / 100 }`:           0,
		`func f(n int64) int64 { return int64(float64(n) * 1.1) }`: 1,
		`var price = 0.5`:                                               1,
		`type t struct{ amount float64 }`:                               1,
		`var rate float64 = 2`:                                          1,
		`var d = decimal.NewFromFloat(0.1)`:                             2,
		`func f(d decimal.Decimal) decimal.Decimal { return d.Div(d) }`: 1,
		`var f = decimal.Decimal.InexactFloat64`:                        1,
		`func f(d time.Duration) int64 { return int64(d.Seconds()) }`:   1,
		`func f(g prometheus.Gauge, n int64) { g.Set(float64(n)) }`:     0,
		`func f(d decimal.Decimal) decimal.Decimal { q, _ := d.QuoRem(decimal.New(3, 0), 2); return q }`: 0,
	} {
		file, err := parser.ParseFile(f.fset, "p.go", head+source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		found, err := f.check("p", []*ast.File{file}, false)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if len(found) != want {
			t.Errorf("%s\n%d found, want %d: %q", source, len(found), want, found)
		}
	}
}
