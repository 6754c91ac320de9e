package ui

import (
	"errors"
	"net/http"

	"github.com/hibari/hibari/internal/tenant"
)

func newOperatorFields(email string, problem tenant.FieldError) []input {
	fields := []input{
		{Name: "email", Label: "Email", Kind: "email", Value: email, Required: true, Autocomplete: "off"},
		{Name: "password", Label: "First password", Kind: "password", Required: true, Autocomplete: "new-password"},
	}
	for i := range fields {
		if fields[i].Name == problem.Field {
			fields[i].Problem = problem.Problem
		}
	}
	return fields
}

func (c *Console) operatorPeople(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showOperators(w, r, v, http.StatusOK, newOperatorFields("", tenant.FieldError{}))
}

func (c *Console) showOperators(w http.ResponseWriter, r *http.Request, v *visit, status int, fields []input) error {
	operators, err := c.Tenants.Operators(r.Context(), v.operator.Authority)
	if err != nil {
		return err
	}
	return v.page(w, r, status, operatorPeoplePage(v, operators, fields))
}

func (c *Console) operatorAdd(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	email := r.PostForm.Get("email")
	_, err := c.Tenants.AddOperator(r.Context(), v.operator.Authority, email, r.PostForm.Get("password"))
	var field *tenant.FieldError
	if errors.Is(err, tenant.ErrEmailTaken) {
		field = &tenant.FieldError{Field: "email", Problem: "This address is an operator's already."}
	}
	if field != nil || errors.As(err, &field) {
		return c.showOperators(w, r, v, http.StatusUnprocessableEntity, newOperatorFields(email, *field))
	}
	if err != nil {
		return err
	}
	return v.finish(w, r, "/operator/operators", "operator-added")
}

// operatorAskRemove asks once whether to end an operator's log-in.
func (c *Console) operatorAskRemove(w http.ResponseWriter, r *http.Request, v *visit) error {
	operators, err := c.Tenants.Operators(r.Context(), v.operator.Authority)
	if err != nil {
		return err
	}
	for _, o := range operators {
		if o.ID == param(r, "operator") {
			return v.ask(w, r, question{
				Title: "Remove this operator?", Text: "They are logged out everywhere at once and cannot log in again. What they did stays in the audit log.",
				Facts:   [][2]string{{"Operator", o.Email}},
				Confirm: "Remove", Action: "/operator/operators/" + o.ID + "/remove", Back: "/operator/operators",
			})
		}
	}
	return tenant.ErrNotFound
}

func (c *Console) operatorRemove(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Tenants.RemoveOperator(r.Context(), v.operator.Authority, param(r, "operator")); err != nil {
		return err
	}
	return v.finish(w, r, "/operator/operators", "operator-removed")
}
