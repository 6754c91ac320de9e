package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dialers are what can open a connection, by the package's import path.
var dialers = map[string][]string{
	"net/http": {"Client", "Transport", "DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm"},
	"net": {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "DialUnix", "Dialer", "Resolver", "DefaultResolver",
		"LookupHost", "LookupIP", "LookupAddr", "LookupCNAME", "LookupTXT", "LookupMX", "LookupNS", "LookupSRV"},
	"net/smtp":                    {"Dial", "NewClient", "SendMail"},
	"net/http/httputil":           {"ReverseProxy", "NewSingleHostReverseProxy"},
	"crypto/tls":                  {"Dial", "DialWithDialer", "Dialer", "Client"},
	"github.com/coder/websocket":  {"Dial", "DialOptions"},
	"golang.org/x/net/websocket":  {"Dial", "DialConfig"},
	"github.com/wneessen/go-mail": {"NewClient"},
}

// ownWays lists who may open connections otherwise than through the guarded client,
// and to where. Nothing that a tenant says leads there.
var ownWays = map[string]string{
	"internal/webhooks/guard.go":    "the guarded client itself",
	"internal/webhooks/webhooks.go": "names its types: the client and the resolver",
	"cmd/platform/silence.go":       "the database of the operator's setting",
	"cmd/platform/doctor.go":        "the operator's own public URL",
	"cmd/platform/load/call.go":     "the server that the load generator is told to measure",
	"cmd/platform/load/metrics.go":  "likewise",
	"internal/sfu/wire/probe.go":    "no packet: asks the kernel for a route",
	"internal/mail/mail.go":         "the mail server of the operator's setting",
}

// Whatever a tenant can name is called by the one guarded client, so nothing else
// in the program may open a connection. A file that has to is listed above with its
// reason; one that no longer does must go from the list.
func TestOneClientForTenantsURLs(t *testing.T) {
	found := map[string][]string{}
	files := 0
	for _, root := range []string{"../../internal", "../../ui", "../../migrations", "."} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			name := strings.TrimPrefix(filepath.ToSlash(path), "../../")
			if root == "." {
				name = "cmd/platform/" + name
			}
			if testing := strings.HasPrefix(name, "internal/sfu/sfutest/") || strings.HasPrefix(name, "internal/browsertest/") ||
				strings.HasPrefix(name, "migrations/dbtest/") || strings.HasPrefix(name, "cmd/platform/e2e/"); testing {
				return nil
			}
			files++
			if used := dialersIn(t, path); len(used) > 0 {
				found[name] = used
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, used := range found {
		if ownWays[name] == "" {
			t.Errorf("%s opens connections by itself (%s): tenants' URLs go through webhooks.NewGuardedClient", name, strings.Join(used, ", "))
		}
	}
	for name := range ownWays {
		if found[name] == nil {
			t.Errorf("%s is on the list and opens no connection", name)
		}
	}
	if files < 200 {
		t.Errorf("read only %d files", files)
	}
}

// dialersIn returns what a file uses of dialers.
func dialersIn(t *testing.T, path string) (used []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{} // by which the file knows them
	for _, spec := range file.Imports {
		imported := strings.Trim(spec.Path.Value, `"`)
		name := imported[strings.LastIndex(imported, "/")+1:]
		if imported == "github.com/wneessen/go-mail" {
			name = "mail"
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = imported
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if use, ok := n.(*ast.SelectorExpr); ok {
			if of, ok := use.X.(*ast.Ident); ok && slices.Contains(dialers[names[of.Name]], use.Sel.Name) {
				used = append(used, of.Name+"."+use.Sel.Name)
			}
		}
		return true
	})
	return used
}
