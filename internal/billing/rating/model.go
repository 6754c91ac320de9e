package rating

import (
	"fmt"

	"github.com/shopspring/decimal"
)

// price computes what the run's quantity costs by its model and fills in what is
// included and the steps. All quantities are in base units (seconds or bytes), of
// which the billed ones are whole; only prices are for units.
func (r *run) price(line *Line) fraction {
	c := r.component
	used := whole(line.Base)
	line.Steps = append(line.Steps, Step{Text: "Used", Quantity: line.Quantity})
	if free := decimal.Min(r.prorated(c.Included), used); free.Sign() > 0 {
		used = used.Sub(free)
		line.Included = r.units(free)
		line.Steps = append(line.Steps, Step{Text: "Included", Quantity: line.Included.Neg()})
	}
	switch c.Model {
	case Package:
		return r.packages(line, used)
	case Graduated:
		return r.graduated(line, used)
	case Volume:
		return r.volume(line, used)
	}
	amount := fraction{used.Mul(c.UnitPrice), line.Per}
	line.Steps = append(line.Steps, Step{"Each " + line.Unit, r.units(used), c.UnitPrice, amount.cut()})
	return amount
}

// packages charges each started package.
func (r *run) packages(line *Line, used decimal.Decimal) fraction {
	c := r.component
	count, rest := used.QuoRem(c.PackageSize.Mul(whole(line.Per)), 0)
	if rest.Sign() > 0 {
		count = count.Add(whole(1))
	}
	amount := fraction{count.Mul(c.UnitPrice), 1}
	text := "Each started " + c.units(c.PackageSize)
	line.Steps = append(line.Steps, Step{text, count, c.UnitPrice, amount.cut()})
	return amount
}

// graduated charges the units inside each tier by its price.
func (r *run) graduated(line *Line, used decimal.Decimal) fraction {
	sum := fraction{whole(0), line.Per * r.of}
	var lower decimal.Decimal
	for i := range r.component.Tiers {
		tier := &r.component.Tiers[i]
		upper := used
		if tier.UpTo != nil {
			upper = decimal.Min(used, r.prorated(*tier.UpTo))
		}
		if inside := upper.Sub(lower); inside.Sign() > 0 {
			sum = r.tier(line, sum, tier, inside)
			lower = upper
		}
	}
	return sum
}

// volume charges all units by the price of the tier that their number lies in.
func (r *run) volume(line *Line, used decimal.Decimal) fraction {
	sum := fraction{whole(0), line.Per * r.of}
	if used.Sign() == 0 {
		return sum
	}
	for i := range r.component.Tiers {
		tier := &r.component.Tiers[i]
		if tier.UpTo == nil || used.Cmp(r.prorated(*tier.UpTo)) <= 0 {
			return r.tier(line, sum, tier, used)
		}
	}
	return sum // not reached: the last tier has no end
}

// tier adds to sum what so many base units cost by a tier, and its flat fee.
func (r *run) tier(line *Line, sum fraction, tier *Tier, units decimal.Decimal) fraction {
	name := "Above that"
	if tier.UpTo != nil {
		name = "Up to " + r.component.units(r.units(r.prorated(*tier.UpTo)))
	}
	amount := fraction{units.Mul(tier.UnitPrice), line.Per}
	line.Steps = append(line.Steps, Step{name, r.units(units), tier.UnitPrice, amount.cut()})
	sum.num = sum.num.Add(amount.num.Mul(whole(r.of)))
	if tier.Flat.Sign() > 0 {
		flat := fraction{tier.Flat.Mul(whole(r.days)), r.of}
		line.Steps = append(line.Steps, Step{name + ", flat: " + daysText(r.days, r.of), fraction{whole(r.days), r.of}.cut(), tier.Flat, flat.cut()})
		sum.num = sum.num.Add(flat.num.Mul(whole(line.Per)))
	}
	return sum
}

// prorated returns so many units of a month for the days of the run, in base units
// and rounded up to a whole one.
func (r *run) prorated(units decimal.Decimal) decimal.Decimal {
	count, rest := units.Mul(whole(r.component.per())).Mul(whole(r.days)).QuoRem(whole(r.of), 0)
	if rest.Sign() > 0 {
		count = count.Add(whole(1))
	}
	return count
}

// units returns base units as units.
func (r *run) units(base decimal.Decimal) decimal.Decimal {
	return fraction{base, r.component.per()}.cut()
}

func daysText(days, of int64) string {
	if days == of {
		return "A month"
	}
	return fmt.Sprintf("%d of %d days", days, of)
}
