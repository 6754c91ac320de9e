package rating

// adjustment collects what one component, with one rate of tax, comes to now and
// was billed for.
type adjustment struct {
	key    string
	tax    int64
	now    int64
	billed int64
	usage  Usage // now more than billed
	base   int64 // the same
	sample Line  // a line of it, the last one of now if there is any
	inputs []any // for the hash
}

// lines returns one line for each component of the earlier period that comes to
// something else by what is known now.
func (l *Late) lines() ([]Line, error) {
	now, err := l.Period.lines()
	if err != nil {
		return nil, err
	}
	var all []*adjustment
	of := func(line *Line) *adjustment {
		for _, a := range all {
			if a.key == line.Component && a.tax == line.TaxPercent {
				return a
			}
		}
		a := &adjustment{key: line.Component, tax: line.TaxPercent, sample: *line}
		all = append(all, a)
		return a
	}
	for i := range now {
		line := &now[i]
		a := of(line)
		if a.now, err = plus(a.now, line.Amount); err != nil {
			return nil, err
		}
		a.usage, a.base = a.usage.Add(line.Usage), add(a.base, line.Base)
		a.sample, a.inputs = *line, append(a.inputs, "now", line.Hash)
	}
	for i := range l.Billed {
		line := &l.Billed[i]
		if line.Kind == LicenceLine || line.Kind == ManualLine {
			continue
		}
		a := of(line)
		if a.billed, err = plus(a.billed, line.Amount); err != nil {
			return nil, err
		}
		a.usage, a.base = a.usage.Sub(line.Usage), a.base-line.Base
		a.inputs = append(a.inputs, "billed", line.Hash, line.Amount)
	}
	var lines []Line
	for _, a := range all {
		if a.now != a.billed || !a.usage.IsZero() {
			line, err := l.line(a)
			if err != nil {
				return nil, err
			}
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// line writes one adjustment.
func (l *Late) line(a *adjustment) (Line, error) {
	currency := l.Period.Parts[0].Version.Currency
	amount, err := plus(a.now, -a.billed)
	if err != nil {
		return Line{}, err
	}
	line := Line{
		Kind: AdjustmentLine, Component: a.key, Name: a.sample.Name, From: l.Period.From, To: l.Period.To,
		Plan: a.sample.Plan, Version: a.sample.Version, Adjusts: &Span{l.Period.From, l.Period.To},
		Meter: a.sample.Meter, Model: a.sample.Model, Usage: a.usage, Base: a.base, Per: a.sample.Per, Unit: a.sample.Unit,
		TaxPercent: a.tax, Amount: amount, Unrounded: major(currency, amount),
		Steps: []Step{
			{Text: "By all that is known now", Amount: major(currency, a.now)},
			{Text: "Less what was billed before", Amount: major(currency, -a.billed)},
		},
	}
	if line.Per > 0 {
		line.Quantity = fraction{whole(line.Base), line.Per}.cut()
	}
	line.Hash = hash(currency, line.Kind, a.key, a.tax, line.From.UTC(), line.To.UTC(), a.inputs)
	return line, nil
}
