package ui

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// errForbidden is a member asking for what their role may not do.
var errForbidden = errors.New("the member's role may not do this")

// problem is an error as a person is told about it.
type problem struct {
	status        int
	title, advice string
}

// problemOf says how an error is told. What is nobody's fault but ours is
// status 500 and goes to the log.
func problemOf(err error) problem {
	var refusal *tenant.Refusal
	switch {
	case errors.Is(err, tenant.ErrNotFound), errors.Is(err, billing.ErrNotFound), errors.Is(err, cluster.ErrNotFound), errors.Is(err, webhooks.ErrNotFound), errors.Is(err, invoice.ErrNotFound), errors.Is(err, invoice.ErrNoGrant):
		return problem{404, "That is not here", "It may have ended or been deleted, or the address is mistyped."}
	case errors.Is(err, errForbidden):
		return problem{403, "Your role does not allow this", "Ask an owner or admin of your organisation to do it, or to change your role."}
	case errors.Is(err, errEndpointDisabled):
		return problem{409, "The endpoint is disabled", "Enable it first, then send again."}
	case errors.Is(err, tenant.ErrTooManyBans):
		return problem{409, "There are as many bans as there may be", "Lift some that are no longer needed, then do it again."}
	case errors.Is(err, billing.ErrLicenceChanged):
		return problem{409, "The licence has been changed meanwhile", "Look at it again before you change it."}
	case errors.Is(err, invoice.ErrFinal), errors.Is(err, invoice.ErrDraft), errors.Is(err, invoice.ErrHeld), errors.Is(err, invoice.ErrIssuer), errors.Is(err, invoice.ErrLater):
		return invoiceProblem(err)
	case problemText(err) != "":
		return problem{422, "That is not possible", problemText(err)}
	case errors.Is(err, errBadForm):
		return problem{400, "The form could not be read", "Go back and send it again."}
	case errors.Is(err, tenant.ErrLastOperator):
		return problem{409, "The only operator stays", "Add another operator first."}
	case errors.Is(err, tenant.ErrSelf):
		return problem{409, "Operators don't remove themselves", "Have another operator do it."}
	case errors.As(err, &refusal) && refusal.Code == tenant.RateLimited:
		return problem{429, "Too many tries", refusal.Detail}
	case errors.As(err, &refusal):
		return problem{503, "Not possible right now", refusal.Detail}
	case tenant.DatabaseAway(err):
		return problem{503, "The database does not answer", "Calls go on, and nothing is lost. Try again in a moment."}
	}
	return problem{500, "Something broke on our side", "It has been written to the log. Try again in a moment."}
}

// fail answers a request with what went wrong. v may be nil: nobody is logged in.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, v *visit, err error) {
	if errors.Is(r.Context().Err(), context.Canceled) {
		return // nobody is listening any more
	}
	p := problemOf(err)
	switch {
	case p.status == http.StatusInternalServerError:
		c.Log.Error("a console page failed", "method", r.Method, "path", r.URL.Path, "error", err)
	case tenant.DatabaseAway(err):
		c.Log.Warn("a console page found no database", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if p.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "5")
	}
	c.tell(w, r, v, p)
}

func (c *Console) tell(w http.ResponseWriter, r *http.Request, v *visit, p problem) {
	if r.Header.Get(fragmentHeader) != "" {
		writeJSON(w, p.status, said{p.title + ". " + p.advice})
		return
	}
	c.render(w, r, p.status, c.problemPage(v, p))
}

// NotFound answers with the console's 404 page.
func (c *Console) NotFound(w http.ResponseWriter, r *http.Request) {
	c.headers(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, _ := c.visit(w, r) // nobody logged in: the page goes without a menu
		c.tell(w, r, v, problem{404, "There is no such page", "The address may be mistyped, or the page has moved."})
	})).ServeHTTP(w, r)
}

// refuseCrossOrigin answers a form that another site sent in the member's name.
func (c *Console) refuseCrossOrigin(w http.ResponseWriter, r *http.Request) {
	c.tell(w, r, nil, problem{403, "This request came from another site", "Open the page here and send the form again."})
}

// fragmentHeader is set by our scripts: they want a fragment or JSON.
const fragmentHeader = "X-Hibari-Fragment"

// said is what a script shows after a form it sent.
type said struct {
	Message string `json:"message"`
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // the client may be gone; nothing to do about it
}

// invoiceProblem says why an invoice cannot be dealt with in this way.
func invoiceProblem(err error) problem {
	switch {
	case errors.Is(err, invoice.ErrFinal):
		return problem{409, "The invoice is final", "It is never changed again. Correct it by a credit note."}
	case errors.Is(err, invoice.ErrDraft):
		return problem{409, "The invoice is a draft", "There is nothing to correct yet: change the draft instead."}
	case errors.Is(err, invoice.ErrHeld):
		return problem{409, "The invoice is held", "Release it first."}
	case errors.Is(err, invoice.ErrIssuer):
		return problem{409, "Nobody issues invoices yet", "Say first who does: name, address and registration number."}
	}
	return problem{409, "A later month is closed already", "What became known since is on its invoice, as an adjustment."}
}
