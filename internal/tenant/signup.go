package tenant

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// FieldError says which field of a form or a JSON object is wrong and what to do
// about it.
type FieldError struct {
	Field   string // name, email, password, licence, connections, per_channel, discount, until, time_zone, channel, role, client_id, ttl, max_duration, metadata
	Problem string // a sentence for the person who filled it in
}

// Error returns "field: problem".
func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// NewTenant is what a sign-up asks for.
type NewTenant struct {
	Name     string // the organization's
	Email    string // the owner's
	Password string // the owner's; "": no log-in until SetPassword
	Licence  int    // connections at once; 0: 300
	Trial    bool   // the licence ends after TrialLength; else it stands until changed
	TimeZone string // IANA name; "": Asia/Tokyo
	// By is the operator who makes the tenant; zero: its owner does.
	By Authority
}

// Created is a new tenant with its first secrets, which are shown only here.
type Created struct {
	Tenant       ID     `json:"tenant_id"`
	MemberID     string `json:"-"`
	APIKey       string `json:"api_key"`
	SigningKeyID string `json:"signing_key_id"`
	SigningKey   string `json:"signing_key"`
	Email        string `json:"email"`
}

const (
	maxEmailBytes   = 254 // RFC 5321 §4.5.3.1.3, without the angle brackets
	defaultLicence  = 300
	defaultTimeZone = "Asia/Tokyo"
)

// CreateTenant makes a tenant with its licence, its owner, an API key and a
// signing key, all or nothing. It fails with a *FieldError for a bad field and
// with ErrEmailTaken if the address has an account.
func (s *Store) CreateTenant(ctx context.Context, n NewTenant) (Created, error) {
	n, err := n.normal()
	if err != nil {
		return Created{}, err
	}
	var hash string
	if n.Password != "" {
		if hash, err = s.passwords.hash(ctx, n.Password); err != nil {
			return Created{}, err
		}
	}
	return s.createTenant(ctx, n, hash, func(pgx.Tx) error { return nil })
}

// createTenant makes what n, which is normal, asks for, in one transaction with
// what is done first.
func (s *Store) createTenant(ctx context.Context, n NewTenant, hash string, first func(pgx.Tx) error) (Created, error) {
	made := Created{Tenant: ID("ten_" + NewID()), MemberID: "mem_" + NewID(), Email: n.Email}
	scope := Member{ID: made.MemberID, Tenant: made.Tenant, Email: made.Email, Role: Owner}.scope()
	var key *verifyKey
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := first(tx); err != nil {
			return err
		}
		if err := insertTenant(ctx, tx, made, n, hash); err != nil {
			return err
		}
		var err error
		if made.APIKey, _, err = insertAPIKey(ctx, tx, scope, "first", Admin); err != nil {
			return err
		}
		var described SigningKey
		made.SigningKey = newSigningSecret()
		if described, key, err = s.insertSigningKey(ctx, tx, scope, "first", algHS256, made.SigningKey, nil); err != nil {
			return err
		}
		made.SigningKeyID = described.ID
		diff := Diff{"name": {nil, n.Name}, "time_zone": {nil, n.TimeZone}, "max_connections": {nil, n.Licence}, "owner": {nil, n.Email}}
		if n.By.actor != "" {
			return AuditOperator(ctx, tx, n.By, made.Tenant, "tenant.created", string(made.Tenant), diff)
		}
		return audit(ctx, tx, scope, "tenant.created", string(made.Tenant), "", diff)
	})
	if taken(err, "member_email") {
		return Created{}, ErrEmailTaken
	}
	if err != nil {
		return Created{}, err
	}
	s.cache.apply(func(v *snapshot) { v.add(key) })
	return made, nil
}

func insertTenant(ctx context.Context, tx pgx.Tx, made Created, n NewTenant, hash string) error {
	_, err := tx.Exec(ctx, `insert into tenant (tenant_id, name, time_zone) values ($1, $2, $3)`, made.Tenant, n.Name, n.TimeZone)
	if err != nil {
		return fmt.Errorf("couldn't create the tenant: %w", err)
	}
	if err := insertLicence(ctx, tx, made, n); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		insert into member (member_id, tenant_id, email, password_hash, role) values ($1, $2, $3, $4, $5)`,
		made.MemberID, made.Tenant, n.Email, hash, Owner)
	if err != nil {
		return fmt.Errorf("couldn't create the owner: %w", err)
	}
	return nil
}

// normal trims, fills in what is absent and checks the rest.
func (n NewTenant) normal() (NewTenant, error) {
	n.Name = strings.TrimSpace(n.Name)
	switch {
	case n.Name == "":
		return n, &FieldError{"name", "Say what your organization is called."}
	case len(n.Name) > MaxNameBytes || badText(n.Name):
		return n, &FieldError{"name", fmt.Sprintf("Use at most %d bytes of ordinary text.", MaxNameBytes)}
	}
	var err error
	if n.Email, err = checkEmail(n.Email); err != nil {
		return n, err
	}
	if n.Password != "" {
		if err := checkPassword(n.Password); err != nil {
			return n, err
		}
	}
	if n.Licence == 0 {
		n.Licence = defaultLicence
	}
	if n.Licence < 0 || n.Licence > MaxLicence {
		return n, &FieldError{"licence", fmt.Sprintf("Ask for 1 to %d connections.", MaxLicence)}
	}
	if n.TimeZone == "" {
		n.TimeZone = defaultTimeZone
	}
	if _, err := time.LoadLocation(n.TimeZone); err != nil || n.TimeZone == "Local" {
		return n, &FieldError{"time_zone", "Use the name of a time zone, such as Asia/Tokyo."}
	}
	return n, nil
}

// checkEmail returns the address without surrounding space.
func checkEmail(email string) (string, error) {
	email = strings.TrimSpace(email)
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Address != email || len(email) > maxEmailBytes || badText(email) || strings.ContainsAny(email, " \"") {
		return "", &FieldError{"email", "Enter an address such as name@example.com."}
	}
	return email, nil
}

// taken reports whether err is the violation of this unique index.
func taken(err error, index string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505" && pg.ConstraintName == index
}
