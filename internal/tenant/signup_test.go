package tenant_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

func TestCreateTenant(t *testing.T) {
	h := newHouse(t)
	made := h.made
	document, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]string
	if err := json.Unmarshal(document, &names); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tenant_id", "api_key", "signing_key_id", "signing_key", "email"} {
		if names[name] == "" {
			t.Errorf("the JSON has no %s: %s", name, document)
		}
	}
	if len(names) != 5 {
		t.Errorf("the JSON has %d names, want 5: %s", len(names), document)
	}
	own, err := h.store.Tenant(t.Context(), h.scope)
	if err != nil || own.ID != made.Tenant || own.Name != "Skylark" || own.TimeZone != "Asia/Tokyo" || own.Status != "active" {
		t.Errorf("Tenant = %+v, %v", own, err)
	}
	members, err := h.store.MemberInfos(t.Context(), h.scope)
	if err != nil || len(members) != 1 || members[0].ID != made.MemberID || members[0].Role != tenant.Owner {
		t.Errorf("MemberInfos = %+v, %v", members, err)
	}
	var licence, perChannel int
	err = h.pool.QueryRow(t.Context(), `select max_connections, max_per_channel from tenant_live where tenant_id = $1`, made.Tenant).Scan(&licence, &perChannel)
	if err != nil || licence != 300 || perChannel != 150 {
		t.Errorf("licence = %d and %d per channel, %v, want 300 and 150", licence, perChannel, err)
	}
	if scope, err := h.store.AuthenticateAPIKey(t.Context(), made.APIKey); err != nil || scope.Tenant() != made.Tenant {
		t.Errorf("the API key opens %v, %v", scope, err)
	}
	h.accepts(h.store, h.token(good()), "room", tenant.SendOnly)
	if list, err := h.store.Tenants(t.Context()); err != nil || len(list) != 1 || list[0] != own {
		t.Errorf("Tenants = %+v, %v", list, err)
	}
}

func TestSignUpMistakes(t *testing.T) {
	h := newHouse(t)
	fine := tenant.NewTenant{Name: "New", Email: "new@example.com", Password: password}
	for _, test := range []struct {
		field  string
		change func(*tenant.NewTenant)
	}{
		{"name", func(n *tenant.NewTenant) { n.Name = " " }},
		{"name", func(n *tenant.NewTenant) { n.Name = strings.Repeat("雲", 86) }},
		{"name", func(n *tenant.NewTenant) { n.Name = "a\x00b" }},
		{"name", func(n *tenant.NewTenant) { n.Name = "a\xffb" }},
		{"email", func(n *tenant.NewTenant) { n.Email = "" }},
		{"email", func(n *tenant.NewTenant) { n.Email = "nobody" }},
		{"email", func(n *tenant.NewTenant) { n.Email = "a@b@c" }},
		{"email", func(n *tenant.NewTenant) { n.Email = "Anna <anna@example.com>" }},
		{"email", func(n *tenant.NewTenant) { n.Email = "anna@example.com, b@example.com" }},
		{"email", func(n *tenant.NewTenant) { n.Email = "an na@example.com" }},
		{"email", func(n *tenant.NewTenant) { n.Email = strings.Repeat("a", 250) + "@example.com" }},
		{"password", func(n *tenant.NewTenant) { n.Password = "seven77" }},
		{"password", func(n *tenant.NewTenant) { n.Password = "雲雀雲雀雲雀雲" }},
		{"password", func(n *tenant.NewTenant) { n.Password = strings.Repeat("x", 129) }},
		{"licence", func(n *tenant.NewTenant) { n.Licence = -1 }},
		{"licence", func(n *tenant.NewTenant) { n.Licence = 1 << 30 }},
		{"time_zone", func(n *tenant.NewTenant) { n.TimeZone = "Mars/Olympus" }},
		{"time_zone", func(n *tenant.NewTenant) { n.TimeZone = "Local" }},
		{"time_zone", func(n *tenant.NewTenant) { n.TimeZone = "../../etc/passwd" }},
	} {
		n := fine
		test.change(&n)
		if _, err := h.store.CreateTenant(t.Context(), n); !isField(err, test.field) {
			t.Errorf("CreateTenant(%+.60v) = %v, want a FieldError of %s", n, err, test.field)
		}
	}
	if list, err := h.store.Tenants(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("a refused sign-up left a tenant: %+v, %v", list, err)
	}
	fine.Name, fine.Licence, fine.TimeZone = "  New  ", 500, "Europe/Berlin"
	made, err := h.store.CreateTenant(t.Context(), fine)
	if err != nil {
		t.Fatal(err)
	}
	if own, err := h.store.Tenant(t.Context(), tenant.OperatorScope(made.Tenant)); err != nil || own.Name != "New" || own.TimeZone != "Europe/Berlin" {
		t.Errorf("Tenant = %+v, %v", own, err)
	}
}

// TestEmailTaken signs up eight times at once with one address: one wins, and
// the others leave nothing behind.
func TestEmailTaken(t *testing.T) {
	h := newHouse(t)
	results := make(chan error, 8)
	var signups sync.WaitGroup
	for range cap(results) {
		signups.Go(func() {
			_, err := h.store.CreateTenant(t.Context(), tenant.NewTenant{Name: "Race", Email: "Race@example.com", Password: password})
			results <- err
		})
	}
	signups.Wait()
	close(results)
	won := 0
	for err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, tenant.ErrEmailTaken) {
			t.Errorf("CreateTenant = %v, want ErrEmailTaken", err)
		}
	}
	if list, err := h.store.Tenants(t.Context()); won != 1 || err != nil || len(list) != 2 {
		t.Errorf("%d won, tenants %+v, %v", won, list, err)
	}
	_, err := h.store.CreateTenant(t.Context(), tenant.NewTenant{Name: "Race", Email: "rACE@example.com"})
	if !errors.Is(err, tenant.ErrEmailTaken) {
		t.Errorf("the same address in another case: %v", err)
	}
}

func TestFindTenant(t *testing.T) {
	h := newHouse(t)
	twin := h.newTenant("Twin", "twin1@example.com")
	h.newTenant("twin", "twin2@example.com")
	impostor := h.newTenant(string(h.made.Tenant), "impostor@example.com")
	for wanted, id := range map[string]tenant.ID{
		string(h.made.Tenant):   h.made.Tenant,
		"skylark":               h.made.Tenant,
		" Owner@Example.com ":   h.made.Tenant,
		"twin1@example.com":     twin.Tenant,
		"impostor@example.com":  impostor.Tenant,
		string(impostor.Tenant): impostor.Tenant,
	} {
		if found, err := h.store.FindTenant(t.Context(), wanted); err != nil || found.ID != id {
			t.Errorf("FindTenant(%q) = %+v, %v, want %s", wanted, found, err, id)
		}
	}
	for wanted, want := range map[string]error{
		"TWIN": tenant.ErrAmbiguous, "": tenant.ErrNotFound, "nobody": tenant.ErrNotFound,
		"ten_x": tenant.ErrNotFound, "\x00": tenant.ErrNotFound, "%": tenant.ErrNotFound,
	} {
		if _, err := h.store.FindTenant(t.Context(), wanted); !errors.Is(err, want) {
			t.Errorf("FindTenant(%q) = %v, want %v", wanted, err, want)
		}
	}
	if _, err := h.store.Tenant(t.Context(), tenant.OperatorScope("ten_x")); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("Tenant of nobody = %v", err)
	}
}

func TestCreateOperator(t *testing.T) {
	h := newHouse(t)
	if err := h.store.CreateOperator(t.Context(), "root@example.com", "short"); !isField(err, "password") {
		t.Errorf("a short password: %v", err)
	}
	if err := h.store.CreateOperator(t.Context(), "root", password); !isField(err, "email") {
		t.Errorf("no address: %v", err)
	}
	if err := h.store.CreateOperator(t.Context(), "root@example.com", password); err != nil {
		t.Fatal(err)
	}
	if err := h.store.CreateOperator(t.Context(), "ROOT@example.com", password); !errors.Is(err, tenant.ErrEmailTaken) {
		t.Errorf("the same address again: %v", err)
	}
	var hash string
	if err := h.pool.QueryRow(t.Context(), `select password_hash from operator`).Scan(&hash); err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the password is stored as %q, %v", hash, err)
	}
	// An operator is no member of any tenant.
	if _, _, err := h.store.LogIn(t.Context(), "root@example.com", password, "", ""); !errors.Is(err, tenant.ErrLogin) {
		t.Errorf("an operator logged in as a member: %v", err)
	}
}

func TestSeal(t *testing.T) {
	h := newHouse(t)
	plain := []byte("whsec_something")
	sealed, err := h.store.Seal(plain)
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.store.Seal(plain)
	if err != nil || string(again) == string(sealed) {
		t.Errorf("sealing twice gives the same: %x, %v", again, err)
	}
	if strings.Contains(string(sealed), string(plain)) {
		t.Error("what is sealed can be read")
	}
	if opened, err := h.store.Open(sealed); err != nil || string(opened) != string(plain) {
		t.Errorf("Open = %q, %v", opened, err)
	}
	for i := range sealed {
		broken := append([]byte(nil), sealed...)
		broken[i] ^= 1
		if _, err := h.store.Open(broken); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := h.store.Open(sealed[:i]); err == nil {
			t.Errorf("opened with %d bytes of %d", i, len(sealed))
		}
	}
	// A signing key's secret does not open as anything else, nor for another row.
	var secret []byte
	if err := h.pool.QueryRow(t.Context(), `select secret_sealed from signing_key`).Scan(&secret); err != nil {
		t.Fatal(err)
	}
	if _, err := h.store.Open(secret); err == nil {
		t.Error("a signing key opened as another secret")
	}
	moved := "key_" + tenant.NewID()
	h.exec(`insert into signing_key (signing_key_id, tenant_id, algorithm, secret_sealed) values ($1, $2, 'HS256', $3)`, moved, h.made.Tenant, secret)
	h.refuses(h.store, sign(map[string]any{"alg": "HS256", "kid": moved}, good(), h.made.SigningKey), "room", tenant.SendOnly, tenant.Unavailable)

	for _, length := range []int{0, 16, 31, 33} {
		if _, err := tenant.NewStore(h.pool, make([]byte, length), slog.Default()); err == nil {
			t.Errorf("NewStore took a master key of %d bytes", length)
		}
	}
}
