package billing

import "github.com/hibari/hibari/internal/billing/rating"

// A Plan is a price list for licences with the rules by which they change.
type Plan struct{ rating.Licence }

// Quote is what a licence costs.
type Quote = rating.Quote

// DefaultPlan is the price list (DESIGN A8).
var DefaultPlan = Plan{*rating.Standard().Licence}

// Errors of a Quote.
var (
	ErrSize     = rating.ErrSize
	ErrDiscount = rating.ErrDiscount
)
