package rating

// Standard returns the first version of the plan that tenants have who have no
// other: licences by the seed's price list, and with them everything that is
// metered.
func Standard() *Version {
	v := &Version{
		Plan: "standard", Name: "standard", Number: 1,
		Currency: "JPY", Rule: StandardMinute, TaxRounding: Down,
		Licence: &Licence{
			Base: 2_400_000, BaseConnections: 300,
			Pack: 600_000, PackConnections: 100,
			MaxConnections: 1_000,
			PerChannel:     150,
			Discounts: []Discount{
				{"company", "your company's name among our customers", 10},
				{"case", "a published case", 10},
			},
			MaxDiscount: 20,
			TaxPercent:  10,
		},
		Components: []Component{
			{Key: "connection_minutes", Name: "Connection minutes", Kind: Metered, TaxPercent: 10,
				Meter: ConnectionMinutes, Model: PerUnit, PerSeconds: 60},
			{Key: "gb_out", Name: "Data to clients", Kind: Metered, TaxPercent: 10,
				Meter: GBOut, Model: PerUnit},
		},
	}
	v.complete()
	return v
}

// complete hands the licence what it has from its version.
func (v *Version) complete() {
	if v.Licence != nil {
		v.Licence.Name, v.Licence.Currency, v.Licence.TaxRounding = v.Name, v.Currency, v.TaxRounding
	}
}
