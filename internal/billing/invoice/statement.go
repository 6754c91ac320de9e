package invoice

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hibari/hibari/internal/billing/rating"
)

// A rating.Statement is kept as JSON with its invoice, whole versions included: what
// was rated can be rated again years later, by anybody, whatever has become of plans.

type keptStatement struct {
	Period  keptPeriod   `json:"period"`
	Charges []keptCharge `json:"charges"`
	Late    []keptLate   `json:"late"`
}

type keptPeriod struct {
	From  time.Time  `json:"from"`
	To    time.Time  `json:"to"`
	Zone  string     `json:"zone"`
	Parts []keptPart `json:"parts"`
}

type keptPart struct {
	From   time.Time       `json:"from"`
	To     time.Time       `json:"to"`
	Plan   string          `json:"plan"`
	Name   string          `json:"name"`
	Number int             `json:"version"`
	Prices json.RawMessage `json:"prices"`
	Usage  rating.Usage    `json:"usage"`
}

type keptCharge struct {
	Kind       rating.LineKind `json:"kind"`
	Key        string          `json:"key"`
	Name       string          `json:"name"`
	Amount     int64           `json:"amount"`
	From       time.Time       `json:"from"`
	To         time.Time       `json:"to"`
	TaxPercent int64           `json:"tax_percent"`
	Of         chargeOf        `json:"of"`
}

// chargeOf is what an invoice's line says of a charge beside what was rated.
type chargeOf struct {
	LicenceID string `json:"licence_id,omitempty"`
	AddedBy   string `json:"added_by,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

type keptLate struct {
	Period keptPeriod    `json:"period"`
	Billed []rating.Line `json:"billed"`
}

// statement is what one invoice is made of: in one currency, with what its lines say of
// the charges, one for each, licences first.
type statement struct {
	rating.Statement
	of []chargeOf
}

func (s *statement) keep() ([]byte, error) {
	k := keptStatement{Charges: []keptCharge{}, Late: []keptLate{}}
	var err error
	if k.Period, err = keepPeriod(s.Period); err != nil {
		return nil, err
	}
	for i, c := range s.Charges {
		k.Charges = append(k.Charges, keptCharge{c.Kind, c.Key, c.Name, c.Amount, c.From, c.To, c.TaxPercent, s.of[i]})
	}
	for _, l := range s.Late {
		period, err := keepPeriod(l.Period)
		if err != nil {
			return nil, err
		}
		k.Late = append(k.Late, keptLate{period, l.Billed})
	}
	return json.Marshal(k)
}

func keepPeriod(p rating.Period) (keptPeriod, error) {
	k := keptPeriod{From: p.From, To: p.To, Zone: p.Zone.String(), Parts: []keptPart{}}
	for _, part := range p.Parts {
		prices, err := json.Marshal(part.Version)
		if err != nil {
			return k, err
		}
		k.Parts = append(k.Parts, keptPart{part.From, part.To, part.Version.Plan, part.Version.Name, part.Version.Number, prices, part.Usage})
	}
	return k, nil
}

// readStatement reads what keep wrote.
func readStatement(text []byte) (*statement, error) {
	var k keptStatement
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, fmt.Errorf("couldn't read a statement: %w", err)
	}
	s := &statement{}
	var err error
	if s.Period, err = k.Period.read(); err != nil {
		return nil, err
	}
	for _, c := range k.Charges {
		s.charge(rating.Charge{Kind: c.Kind, Key: c.Key, Name: c.Name, Amount: c.Amount,
			From: c.From.In(s.Period.Zone), To: c.To.In(s.Period.Zone), TaxPercent: c.TaxPercent}, c.Of)
	}
	for _, l := range k.Late {
		period, err := l.Period.read()
		if err != nil {
			return nil, err
		}
		s.Late = append(s.Late, rating.Late{Period: period, Billed: l.Billed})
	}
	return s, nil
}

func (k keptPeriod) read() (rating.Period, error) {
	zone, err := time.LoadLocation(k.Zone)
	if err != nil {
		return rating.Period{}, fmt.Errorf("couldn't read a statement: %w", err)
	}
	p := rating.Period{From: k.From.In(zone), To: k.To.In(zone), Zone: zone}
	for _, part := range k.Parts {
		version, err := rating.Parse(part.Plan, part.Name, part.Number, part.Prices)
		if err != nil {
			return p, fmt.Errorf("couldn't read the prices of a statement: %w", err)
		}
		p.Parts = append(p.Parts, rating.Part{From: part.From.In(zone), To: part.To.In(zone), Version: version, Usage: part.Usage})
	}
	return p, nil
}

// charge adds a charge.
func (s *statement) charge(c rating.Charge, of chargeOf) {
	s.Charges, s.of = append(s.Charges, c), append(s.of, of)
}

// line is one line of a bill with what the invoice says of it beside.
type line struct {
	rating.Line
	chargeOf
}

// rate makes the bill of it. A line of a charge is the charge's of that number among
// those of its kind: rating keeps their order.
func (s *statement) rate() (rating.Bill, []line, error) {
	bill, err := rating.Rate(s.Statement)
	if err != nil {
		return bill, nil, err
	}
	of := map[rating.LineKind][]chargeOf{}
	for i, c := range s.Charges {
		of[c.Kind] = append(of[c.Kind], s.of[i])
	}
	lines := make([]line, len(bill.Lines))
	for i, l := range bill.Lines {
		lines[i].Line = l
		if rest := of[l.Kind]; len(rest) > 0 {
			lines[i].chargeOf, of[l.Kind] = rest[0], rest[1:]
		}
	}
	return bill, lines, nil
}
