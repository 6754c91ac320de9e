package rating_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing/rating"
)

// TestBillAddsUp: whatever is rated, the lines sum to the subtotal, each rate's base
// is that of its lines, and a line is its unrounded amount, rounded once.
func TestBillAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyStatement(t)
		bill := rate(t, s)
		if again := rate(t, s); !reflect.DeepEqual(bill, again) {
			t.Fatal("the same statement came to two bills")
		}
		var subtotal, tax int64
		base := map[int64]int64{}
		for _, line := range bill.Lines {
			subtotal += line.Amount
			base[line.TaxPercent] += line.Amount
			places, _ := rating.Exponent(bill.Currency)
			if exact := line.Unrounded.Shift(places).Round(0).IntPart(); exact != line.Amount && line.Unrounded.Exponent() > -12 {
				t.Fatalf("%s is %d, rounded from %s", line.Component, line.Amount, line.Unrounded)
			}
			if len(line.Hash) != 64 {
				t.Fatalf("hash %q", line.Hash)
			}
		}
		for _, each := range bill.Taxes {
			if each.Base != base[each.Percent] {
				t.Fatalf("%d %% of %d, want of %d", each.Percent, each.Base, base[each.Percent])
			}
			delete(base, each.Percent)
			tax += each.Amount
		}
		if len(base) > 0 || subtotal != bill.Subtotal || tax != bill.Tax || subtotal+tax != bill.Total {
			t.Fatalf("%+v does not add up", bill)
		}
	})
}

// TestUsageStandsOnBill: with one component for each meter, all usage stands on the
// lines, and nothing twice (conservation).
func TestUsageStandsOnBill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rating.Standard()
		v.Components = append(v.Components, rating.Component{Key: "recording", Name: "Recording", Kind: rating.Metered,
			Meter: rating.RecordingMinutes, Model: rating.PerUnit, UnitPrice: anyNumber(t, "price", 0, 3, 2)})
		p := anyPeriod(t, "JPY")
		var want, got rating.Usage
		for i := range p.Parts {
			p.Parts[i].Version = v
			want = want.Add(p.Parts[i].Usage)
		}
		for _, line := range rate(t, rating.Statement{Period: p}).Lines {
			got = got.Add(line.Usage)
		}
		if got != want {
			t.Fatalf("the lines have %+v, used was %+v", got, want)
		}
	})
}

// TestSplitIsWhole: a part cut in two at any midnight comes to the same bill.
func TestSplitIsWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyStatement(t)
		whole := rate(t, s)
		i := rapid.IntRange(0, len(s.Period.Parts)-1).Draw(t, "part")
		part := s.Period.Parts[i]
		last := part.To.Add(-time.Hour).In(s.Period.Zone).Day()
		cut := time.Date(part.From.In(s.Period.Zone).Year(), part.From.In(s.Period.Zone).Month(),
			rapid.IntRange(part.From.In(s.Period.Zone).Day(), last).Draw(t, "day"), 0, 0, 0, 0, s.Period.Zone)
		if cut.Before(part.From) {
			cut = part.From // a midnight that does not exist
		}
		share := func(n int64, label string) int64 { return rapid.Int64Range(0, n).Draw(t, label) }
		u := part.Usage
		first := rating.Usage{Connections: share(u.Connections, "a"), Seconds: share(u.Seconds, "b"), Minutes: share(u.Minutes, "c"),
			BilledSeconds: share(u.BilledSeconds, "d"), BytesIn: share(u.BytesIn, "e"), BytesOut: share(u.BytesOut, "f"), RecordingSeconds: share(u.RecordingSeconds, "g")}
		s.Period.Parts = slices.Replace(slices.Clone(s.Period.Parts), i, i+1,
			rating.Part{From: part.From, To: cut, Version: part.Version, Usage: first},
			rating.Part{From: cut, To: part.To, Version: part.Version, Usage: u.Sub(first)})
		if split := rate(t, s); !reflect.DeepEqual(split, whole) {
			t.Fatalf("split at %s\n%+v\nwhole\n%+v", cut, split, whole)
		}
	})
}

// TestMoreCostsNoLess: more usage never costs less, but with volume tiers, whose
// price for all units falls when the next tier is reached.
func TestMoreCostsNoLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyStatement(t)
		for i := range s.Period.Parts {
			for _, c := range s.Period.Parts[i].Version.Components {
				if c.Model == rating.Volume {
					t.Skip("volume")
				}
			}
		}
		less := rate(t, s)
		s.Period.Parts = slices.Clone(s.Period.Parts)
		i := rapid.IntRange(0, len(s.Period.Parts)-1).Draw(t, "part")
		s.Period.Parts[i].Usage = s.Period.Parts[i].Usage.Add(anyUsage(t))
		if more := rate(t, s); more.Subtotal < less.Subtotal {
			t.Fatalf("more usage costs %d, less cost %d", more.Subtotal, less.Subtotal)
		}
	})
}

// TestLateFacts: what was billed, and adjustments in as many later bills as there
// may be, come to what one bill would have been had all been known at once.
func TestLateFacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPeriod(t, "JPY")
		billed := rate(t, rating.Statement{Period: p}).Lines
		current := month(p.Zone, 2030, 1, p.Parts[len(p.Parts)-1].Version, rating.Usage{})
		current.Parts[0].Version = version("JPY")
		late := func() []rating.Line {
			return rate(t, rating.Statement{Period: current, Late: []rating.Late{{Period: p, Billed: billed}}}).Lines
		}
		for range rapid.IntRange(0, 3).Draw(t, "times") {
			p.Parts = slices.Clone(p.Parts)
			i := rapid.IntRange(0, len(p.Parts)-1).Draw(t, "part")
			p.Parts[i].Usage = p.Parts[i].Usage.Add(anyUsage(t))
			billed = append(billed, late()...)
		}
		if again := late(); len(again) > 0 {
			t.Fatalf("nothing more became known, but %+v", again)
		}
		type sum struct {
			amount, base int64
			usage        rating.Usage
		}
		sums := func(lines []rating.Line) map[string]sum {
			all := map[string]sum{}
			for _, line := range lines {
				s := all[line.Component]
				all[line.Component] = sum{s.amount + line.Amount, s.base + line.Base, s.usage.Add(line.Usage)}
			}
			for key, s := range all {
				if s == (sum{}) {
					delete(all, key)
				}
			}
			return all
		}
		if got, want := sums(billed), sums(rate(t, rating.Statement{Period: p}).Lines); !reflect.DeepEqual(got, want) {
			t.Fatalf("billed in parts %+v\nat once %+v", got, want)
		}
	})
}

// TestRuleAddsUp: the billed time of adjoining periods is that of the whole, and
// that is each increment, counted one by one by when it starts.
func TestRuleAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := rating.Rule{IncrementSeconds: rapid.Int64Range(1, 700).Draw(t, "increment"), MinimumSeconds: rapid.Int64Range(0, 900).Draw(t, "minimum")}
		connected := time.Date(2026, 10, 31, 14, 59, 0, rapid.IntRange(0, 999_999_999).Draw(t, "ns"), time.UTC)
		end := connected.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "length")))
		cuts := []time.Time{connected.Add(-time.Hour)}
		for range rapid.IntRange(0, 6).Draw(t, "cuts") {
			cuts = append(cuts, cuts[0].Add(time.Duration(rapid.Int64Range(0, int64(5*time.Hour)).Draw(t, "cut"))))
		}
		cuts = append(cuts, end.Add(time.Hour))
		slices.SortFunc(cuts, time.Time.Compare)
		var starts []time.Time
		for at, seconds := connected, int64(0); seconds < rule.MinimumSeconds || len(starts) == 0 || at.Before(end); {
			start := connected
			if seconds >= rule.MinimumSeconds && len(starts) > 0 {
				start = at
			}
			starts = append(starts, start)
			seconds += rule.IncrementSeconds
			at = at.Add(time.Duration(rule.IncrementSeconds) * time.Second)
		}
		var sum int64
		for i := range cuts[1:] {
			got, want := rule.BilledSeconds(connected, end, cuts[i], cuts[i+1]), int64(0)
			for _, start := range starts {
				if !start.Before(cuts[i]) && start.Before(cuts[i+1]) {
					want += rule.IncrementSeconds
				}
			}
			if got != want {
				t.Fatalf("%d billed seconds in %s to %s, want %d", got, cuts[i], cuts[i+1], want)
			}
			sum += got
		}
		if whole := rule.BilledSeconds(connected, end, cuts[0], cuts[len(cuts)-1]); sum != whole || whole != int64(len(starts))*rule.IncrementSeconds {
			t.Fatalf("parts come to %d, the whole is %d of %d increments", sum, whole, len(starts))
		}
	})
}
