package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// refusalCodes reads the codes from the package that declares them, so that a
// new one cannot be forgotten here.
func refusalCodes(t *testing.T) []tenant.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../tenant/refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []tenant.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Code" {
			code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, tenant.Code(code))
		}
		return true
	})
	if len(codes) < 10 {
		t.Fatalf("found only the codes %v", codes)
	}
	return codes
}

// answer is what a caller gets for an error.
func answer(t *testing.T, err error) (*httptest.ResponseRecorder, api.Problem) {
	t.Helper()
	w := httptest.NewRecorder()
	api.Fail(w, httptest.NewRequest(http.MethodPost, "/", nil), slog.New(slog.DiscardHandler), err)
	var doc api.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatalf("%q is no JSON: %v", w.Body, err)
	}
	return w, doc
}

func TestEveryRefusalCodeHasAStatus(t *testing.T) {
	for _, code := range refusalCodes(t) {
		w, doc := answer(t, fmt.Errorf("couldn't do it: %w", tenant.Refuse(code, "do something else")))
		if w.Code < 400 || w.Code > 599 || w.Code == http.StatusInternalServerError {
			t.Errorf("%s has status %d", code, w.Code)
		}
		if doc.Code != code || doc.Status != w.Code || doc.Title != http.StatusText(w.Code) || doc.Detail != "do something else" {
			t.Errorf("%s is told as %+v", code, doc)
		}
		if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("%s comes as %s", code, got)
		}
		if retry := w.Code == http.StatusServiceUnavailable || w.Code == http.StatusTooManyRequests; (w.Header().Get("Retry-After") != "") != retry {
			t.Errorf("%s with status %d has Retry-After %q", code, w.Code, w.Header().Get("Retry-After"))
		}
	}
}

// The page that developers read must know every code.
func TestEveryRefusalCodeIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/signalling.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range refusalCodes(t) {
		if !strings.Contains(string(page), "`"+string(code)+"`") {
			t.Errorf("docs/signalling.md does not mention %s", code)
		}
	}
}

func TestProblemsTellCallersApart(t *testing.T) {
	full := tenant.Refuse(tenant.TenantFull, "full")
	full.Current, full.Max = 300, 300
	for _, one := range []struct {
		err    error
		status int
		code   tenant.Code
	}{
		{full, http.StatusConflict, tenant.TenantFull},
		{fmt.Errorf("no: %w", tenant.ErrAPIKey), http.StatusUnauthorized, api.CodeUnauthorized},
		{fmt.Errorf("no: %w", tenant.ErrNotFound), http.StatusNotFound, api.CodeNotFound},
		{fmt.Errorf("no: %w", tenant.ErrOwnersOnly), http.StatusForbidden, api.CodeForbidden},
		{tenant.ErrLastOwner, http.StatusConflict, api.CodeConflict},
		{tenant.ErrYourself, http.StatusConflict, api.CodeConflict},
		{tenant.ErrTooManyMembers, http.StatusConflict, api.CodeLimitReached},
		{billing.ErrNotFound, http.StatusNotFound, api.CodeNotFound},
		{fmt.Errorf("couldn't ask geheim: %w", context.DeadlineExceeded), http.StatusServiceUnavailable, tenant.Unavailable},
		{errors.New("password geheim is wrong"), http.StatusInternalServerError, api.CodeInternal},
	} {
		w, doc := answer(t, one.err)
		if w.Code != one.status || doc.Code != one.code {
			t.Errorf("%v is told as %d %s", one.err, w.Code, doc.Code)
		}
		if strings.Contains(w.Body.String(), "geheim") {
			t.Errorf("a caller learns of our own error: %s", w.Body)
		}
		if (w.Header().Get("WWW-Authenticate") != "") != (w.Code == http.StatusUnauthorized) {
			t.Errorf("%d has WWW-Authenticate %q", w.Code, w.Header().Get("WWW-Authenticate"))
		}
	}
	if _, doc := answer(t, full); doc.Current != 300 || doc.Max != 300 {
		t.Errorf("a full licence is told as %d of %d", doc.Current, doc.Max)
	}
}
