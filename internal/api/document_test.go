package api_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

// sample is a path of the document with something in place of its parameters.
func sample(path string) string {
	return regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "nothing")
}

// each calls f with every operation of the document.
func (d *document) each(f func(method, path string, o described)) {
	for path, methods := range d.Paths {
		for method, o := range methods {
			f(strings.ToUpper(method), path, o)
		}
	}
}

// The names that others rely on.
func TestContract(t *testing.T) {
	s := newService(t)
	for _, one := range []string{
		"GET /v1/channels", "GET /v1/connections", "DELETE /v1/connections/{connection_id}", "DELETE /v1/channels/{channel}/connections",
		"POST /v1/webhook-endpoints", "GET /v1/webhook-endpoints/{id}/deliveries", "POST /v1/webhook-endpoints/{id}/test",
		"POST /v1/deliveries/{id}/replay", "POST /v1/webhook-endpoints/{id}/replay", "GET /v1/events", "GET /v1/settings", "PATCH /v1/settings", "GET /v1/usage", "GET /v1/licence",
		"GET /v1/bans", "POST /v1/bans", "DELETE /v1/bans/{id}", "POST /v1/access-tokens", "POST /v1/signing-keys",
		"POST /v1/invitations", "GET /v1/invitations", "POST /v1/invitations/{id}/resend", "DELETE /v1/invitations/{id}",
		"PATCH /v1/members/{member_id}", "DELETE /v1/members/{member_id}", "POST /v1/members/{member_id}/reset-second-step",
	} {
		method, path, _ := strings.Cut(one, " ")
		if _, ok := s.schemas.Paths[path][strings.ToLower(method)]; !ok {
			t.Errorf("%s is missing", one)
		}
	}
}

// Every operation of the document is served, says what it is, and is closed to
// those without a key; what is not in the document is not served.
func TestDocumentIsWhatIsServed(t *testing.T) {
	s := newService(t)
	stranger := &caller{service: s, t: t}
	ids := map[string]bool{}
	s.schemas.each(func(method, path string, o described) {
		if o.OperationID == "" || ids[o.OperationID] || o.Summary == "" || o.Description == "" || len(o.Security) != 1 {
			t.Errorf("%s %s is described as %+v", method, path, o)
		}
		ids[o.OperationID] = true
		for _, p := range o.Parameters {
			if p.In == "path" && !p.Required {
				t.Errorf("%s %s: parameter %s", method, path, p.Name)
			}
		}
		stranger.do(method, sample(path), nil).problem(401, api.CodeUnauthorized)
		for _, other := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			if _, ok := s.schemas.Paths[path][strings.ToLower(other)]; ok {
				continue
			}
			allow := stranger.do(other, sample(path), nil).header.Values("Allow")
			if !slices.Contains(allow, method) || slices.Contains(allow, other) {
				t.Errorf("%s %s allows %v", other, path, allow)
			}
		}
	})
	if len(ids) < 25 {
		t.Errorf("only %d operations", len(ids))
	}
	for _, path := range []string{"/v1", "/v1/", "/v1/nothing", "/v1/connections/a/b"} {
		stranger.do("GET", path, nil).problem(404, api.CodeNotFound)
	}
}

// Bytes that no row could hold name nothing, and are no error of ours.
func TestNamesThatNobodyHas(t *testing.T) {
	s := newService(t)
	c := s.caller(t, "lark")
	asked := 0
	s.schemas.each(func(method, path string, _ described) {
		if !strings.Contains(path, "{") {
			return
		}
		for _, name := range []string{"%00", "a%00b", "%ff", "%0A", "%2F%00"} {
			asked++
			c.do(method, regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, name), nil).problem(404, api.CodeNotFound)
		}
	})
	if asked == 0 {
		t.Error("no operation has a parameter")
	}
}

// Every example in the document is one.
func TestExamplesFitTheirSchemas(t *testing.T) {
	s := newService(t)
	r, err := http.Get(s.url + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var whole any
	if whole, err = jsonschema.UnmarshalJSON(r.Body); err != nil {
		t.Fatal(err)
	}
	found := 0
	var walk func(at []string, v any)
	walk = func(at []string, v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				_ = one // no schema stands in a list
			}
		case map[string]any:
			if examples, ok := v["examples"].([]any); ok {
				for _, example := range examples {
					found++
					if err := s.schemas.schema(t, at...).Validate(example); err != nil {
						t.Errorf("at %v: %v", at, err)
					}
				}
			}
			for name, inner := range v {
				walk(append(slices.Clone(at), name), inner)
			}
		}
	}
	walk(nil, whole)
	if found < 15 {
		t.Errorf("found only %d examples", found)
	}
}

// An API key may do what its role may, and nothing else; who only looks changes
// nothing.
func TestRolesOfKeys(t *testing.T) {
	s := newService(t, func(c *api.Config) { c.RequestRate, c.RequestBurst = 1000, 10_000 }) // every operation, with a key of every role
	c := s.caller(t, "lark")
	may := map[tenant.MemberRole]int{}
	for _, role := range tenant.KeyRoles {
		as := c.as(role)
		s.schemas.each(func(method, path string, o described) {
			listed := slices.Contains(strings.Split(strings.TrimSuffix(o.Description[strings.LastIndex(o.Description, ": ")+2:], "."), ", "), string(role))
			// What is asked for makes no sense, but that is looked at later.
			answer := as.do(method, sample(path)+"?nonsense=1", nil)
			if forbidden := answer.status == http.StatusForbidden; forbidden == listed {
				t.Errorf("%s: %s %s answers %d, and the document says %v", role, method, path, answer.status, listed)
			}
			if !listed {
				answer.problem(403, api.CodeForbidden)
				return
			}
			may[role]++
			pays := role == tenant.Billing && (strings.HasPrefix(path, "/v1/licence/") || path == "/v1/spend/cap" || path == "/v1/billing-details")
			if (role == tenant.Viewer || role == tenant.Billing) && method != "GET" && !pays {
				t.Errorf("a %s may %s %s", role, method, path)
			}
		})
	}
	if len(s.schemas.Paths) == 0 || may[tenant.Admin] <= may[tenant.Developer] || may[tenant.Developer] <= may[tenant.Viewer] || may[tenant.Viewer] == 0 || may[tenant.Billing] == 0 {
		t.Errorf("how much each may do: %v", may)
	}
}

// The document is the same for everybody, and no secret is in it.
func TestDocumentNeedsNoKey(t *testing.T) {
	s := newService(t)
	head, err := http.Head(s.url + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	head.Body.Close()
	if head.StatusCode != 200 || head.Header.Get("Content-Type") != "application/json" {
		t.Errorf("HEAD answers %d %v", head.StatusCode, head.Header)
	}
	var version struct{ OpenAPI string }
	r, err := http.Get(s.url + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&version); err != nil || !strings.HasPrefix(version.OpenAPI, "3.1") {
		t.Errorf("version %q, %v", version.OpenAPI, err)
	}
}

// The page that developers read knows every operation and every code.
func TestEverythingIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	known := map[string]bool{}
	newService(t).schemas.each(func(method, path string, _ described) {
		one := method + " " + path
		known[one] = true
		if !strings.Contains(page, "`"+one+"`") {
			t.Errorf("docs/api.md does not mention %s", one)
		}
	})
	for _, found := range regexp.MustCompile("`((?:GET|POST|PATCH|DELETE) /v1/[^`?]*)`").FindAllStringSubmatch(page, -1) {
		if !known[found[1]] && found[1] != "GET /v1/openapi.json" {
			t.Errorf("docs/api.md mentions %s, which is not there", found[1])
		}
	}
	for _, code := range []tenant.Code{
		api.CodeUnauthorized, api.CodeForbidden, api.CodeNotFound, api.CodeMethodNotAllowed, api.CodeConflict, api.CodeLimitReached, api.CodeExpired,
		api.CodeUnsupportedMediaType, api.CodeInvalid, api.CodeIdempotencyMismatch, api.CodeIdempotencyInProgress, api.CodeInternal,
	} {
		if !strings.Contains(page, "`"+string(code)+"`") {
			t.Errorf("docs/api.md does not mention the code %s", code)
		}
	}
}
