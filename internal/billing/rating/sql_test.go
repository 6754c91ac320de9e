package rating_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/migrations/dbtest"
)

// rateSQL computes a bill in Postgres, with numeric alone.
//
//go:embed testdata/rate.sql
var rateSQL string

// statementJSON is what rateSQL gets.
func statementJSON(t interface{ Fatal(...any) }, s rating.Statement) []byte {
	places, _ := rating.Exponent(s.Period.Parts[0].Version.Currency)
	type part struct {
		From    time.Time       `json:"from"`
		To      time.Time       `json:"to"`
		Version *rating.Version `json:"version"`
		Usage   rating.Usage    `json:"usage"`
	}
	type charge struct {
		Amount int64 `json:"amount"`
		Tax    int64 `json:"tax_percent"`
	}
	in := struct {
		From     time.Time `json:"from"`
		To       time.Time `json:"to"`
		Zone     string    `json:"zone"`
		Exponent int32     `json:"exponent"`
		Parts    []part    `json:"parts"`
		Charges  []charge  `json:"charges"`
	}{From: s.Period.From.UTC(), To: s.Period.To.UTC(), Zone: s.Period.Zone.String(), Exponent: places, Charges: []charge{}}
	for _, p := range s.Period.Parts {
		in.Parts = append(in.Parts, part{p.From.UTC(), p.To.UTC(), p.Version, p.Usage})
	}
	for _, c := range s.Charges {
		in.Charges = append(in.Charges, charge{c.Amount, c.TaxPercent})
	}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// bySQL is the whole bill as Postgres computes it.
func bySQL(t interface{ Fatal(...any) }, conn *pgx.Conn, s rating.Statement) computed {
	var answer []byte
	if err := conn.QueryRow(context.Background(), rateSQL, statementJSON(t, s)).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	var out struct {
		Amounts []struct {
			Key    string
			From   time.Time
			Amount int64
		}
		Taxes      []struct{ Percent, Amount int64 }
		Tax, Total int64
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		t.Fatal(err)
	}
	c := computed{map[string]int64{}, map[int64]int64{}, out.Tax, out.Total}
	for _, a := range out.Amounts {
		c.amounts[runKey(a.Key, a.From)] = a.Amount
	}
	for _, tax := range out.Taxes {
		c.taxes[tax.Percent] = tax.Amount
	}
	return c
}

// TestAgreesWithSQL: what Rate says is what Postgres computes with numeric.
func TestAgreesWithSQL(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), dbtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "set jit = off"); err != nil { // it takes longer than the query
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := anyStatement(t)
		if got, want := ofBill(rate(t, s)), bySQL(t, conn, s); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("Rate: %v\nSQL:  %v\n%s", got, want, statementJSON(t, s))
		}
	})
}
