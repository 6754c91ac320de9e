package ui

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// visit is one request of a member: who, of which tenant, and what a page
// needs to know about it. Owned by the request.
type visit struct {
	console *Console
	login   tenant.Login
	tenant  tenant.Tenant
	// operator is set on the operator's console, and there only: then there is no
	// member and no tenant.
	operator *tenant.OperatorLogin
	zone     *time.Location // the tenant's; times and days are shown in it
	now      time.Time
	path     string
	done     string // what the last form did, in words; "": nothing to say
	troubles []webhooks.Trouble
	once     *secrets // to be shown on this page and never again; nil: none
	// live is set while a stream renders: running clocks are left to the page,
	// so that a fragment changes only when something happened.
	live bool
	// usage is what a stream last read, at usageAt (recentDays).
	usage   []billing.UsageRow
	usageAt time.Time
	// Likewise what is spent.
	month   billing.Month
	monthAt time.Time
	// Likewise how connections do, and one connection's statistics.
	qualities   map[string]condition // by connection id; who is not there has no sample
	qualitiesAt time.Time
	plots       *plotsData
	plotsAt     time.Time
	// partial is set when a script asks for what goes into a dialog.
	partial bool
}

// may reports whether the member's role is one of roles: what a page offers
// must be what the table of routes allows.
func (v *visit) may(roles []tenant.MemberRole) bool { return v.login.Member.Role.In(roles...) }

// who is the id of the person, for what is handed to them alone.
func (v *visit) who() string {
	if v.operator != nil {
		return v.operator.Operator.ID
	}
	return v.login.Member.ID
}

// known reports whether somebody is logged in: then pages have a menu.
func (v *visit) known() bool { return v != nil && (v.operator != nil || v.tenant.ID != "") }

// home is the person's overview.
func (v *visit) home() string {
	if v.operator != nil {
		return operatorPrefix
	}
	return "/console"
}

// suspendedText tells members that their tenant is suspended, and why.
func suspendedText(t tenant.Tenant) string {
	text := "This organisation is suspended: new connections are refused."
	if t.SuspendedReason != "" {
		text += " The reason: " + t.SuspendedReason + "."
	}
	return text + " Ask the operator of this platform."
}

// cappedText tells members that their spending cap refuses connections.
func (v *visit) cappedText() string {
	return "Your spending cap is reached: new connections are refused until " + v.stamp(*v.tenant.CappedUntil) + ". A higher cap, under Spending, lets them in at once."
}

// member wraps a route of the table: log-in, role, action, error page.
func (c *Console) member(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := c.visit(w, r)
		if errors.Is(err, tenant.ErrNoSession) {
			c.sendToLogin(w, r)
			return
		}
		if err == nil && !v.may(route.roles) {
			err = errForbidden
		}
		if err == nil {
			err = c.act(w, r, v, route)
		}
		if err != nil {
			c.fail(w, r, v, err)
		}
	})
}

// act does what a member asked for when it is the tenant's turn.
func (c *Console) act(w http.ResponseWriter, r *http.Request, v *visit, route route) error {
	if strings.HasPrefix(route.path, "/console/live/") {
		return route.action(w, r, v) // a seat for each of its questions, not for as long as it is open
	}
	seats := c.Requests
	if strings.HasPrefix(route.path, exportPrefix) {
		seats = c.Exports // a file may take longer than a page
	}
	leave, err := seat(r.Context(), seats, v)
	if err != nil {
		return err
	}
	defer leave()
	c.lookForTrouble(r, v)
	return route.action(w, r, v)
}

// seat waits for the tenant's turn.
func seat(ctx context.Context, seats *tenant.Seats, v *visit) (leave func(), err error) {
	if seats == nil {
		return func() {}, nil
	}
	return seats.Take(ctx, v.login.Scope.Tenant())
}

// LivePagesRefused returns how many live pages were one too many of their
// tenant, since the start.
func (c *Console) LivePagesRefused() int64 { return c.lives.Refused() }

// pageLimit is how long a page may wait for the database before it becomes an
// error page.
const pageLimit = 10 * time.Second

// inTime gives a request pageLimit. Streams go on for longer; they limit each
// of their questions.
func inTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), pageLimit)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// visit finds out who asks. Its visit is usable for the error page even when
// there is an error, if the member is known.
func (c *Console) visit(w http.ResponseWriter, r *http.Request) (*visit, error) {
	ctx, cancel := context.WithTimeout(r.Context(), pageLimit)
	defer cancel()
	r = r.WithContext(ctx)
	login, err := c.session(r)
	if err != nil {
		return nil, err
	}
	v := &visit{console: c, login: login, zone: time.UTC, now: time.Now(), path: r.URL.Path,
		done: doneTexts[r.URL.Query().Get("done")], partial: r.Header.Get(fragmentHeader) != ""}
	v.tenant, err = c.Tenants.Tenant(r.Context(), login.Scope)
	if err != nil {
		return v, fmt.Errorf("couldn't read the tenant: %w", err)
	}
	if zone, err := time.LoadLocation(v.tenant.TimeZone); err == nil {
		v.zone = zone
	}
	if r.Method == http.MethodGet && !v.partial {
		v.once = c.takeSecrets(w, r, v)
	}
	if v.once != nil && v.once.Done != "" {
		v.done = doneTexts[v.once.Done]
	}
	return v, nil
}

// session returns the log-in of the request's cookie, or ErrNoSession.
func (c *Console) session(r *http.Request) (tenant.Login, error) {
	cookie, err := r.Cookie(c.cookieName())
	if err != nil {
		return tenant.Login{}, tenant.ErrNoSession
	}
	return c.Tenants.Session(r.Context(), cookie.Value)
}

// cookieName is the name of the session cookie. The prefix makes browsers
// refuse it from anyone but this very host over HTTPS.
func (c *Console) cookieName() string {
	if c.Secure {
		return "__Host-hibari"
	}
	return "hibari"
}

// setCookie sets a cookie that scripts cannot read and other sites' forms
// cannot use. A negative age deletes it, 0 keeps it for the browser's session.
func (c *Console) setCookie(w http.ResponseWriter, name, value string, age time.Duration) {
	cookie := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.Secure}
	switch {
	case age < 0:
		cookie.MaxAge = -1
	case age > 0:
		cookie.MaxAge = int(age.Seconds())
	}
	http.SetCookie(w, cookie)
}

// sendToLogin asks a stranger to log in, and brings them back after it.
func (c *Console) sendToLogin(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get(fragmentHeader) != "":
		writeJSON(w, http.StatusUnauthorized, said{"You have been logged out. Log in again."})
	case strings.HasPrefix(r.URL.Path, "/console/live/"):
		startStream(w).send("gone", "") // the page reloads, and is sent here itself
	case r.Method == http.MethodGet:
		http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	}
}

// localPath returns next if it is a path of the console or the demo, else the
// overview: a log-in must not lead to another site.
func localPath(next string) string {
	if next == "/console" || strings.HasPrefix(next, "/console/") || strings.HasPrefix(next, "/console?") || strings.HasPrefix(next, "/demo/") {
		return next
	}
	return "/console"
}

// headers sets what makes a browser defend the pages. Nothing inline runs or
// styles: scripts and style sheets are files of ours.
func (c *Console) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		connect := "'self'"
		if plainHost.MatchString(r.Host) { // older browsers do not take WebSockets for 'self'
			connect += " ws://" + r.Host + " wss://" + r.Host
		}
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "+
			"media-src 'self' blob:; worker-src 'self'; connect-src "+connect+"; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(self), microphone=(self), geolocation=(), payment=()")
		h.Set("Cache-Control", "no-store")
		h.Set("Vary", fragmentHeader)
		if c.Secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// plainHost is a host that can stand in a header without quoting.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.\-\[\]:]+$`)

// address returns the address a request came from, without the port.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// auditLog writes an entry about something the console does that changes no row: a
// disconnect is a word to a connection's loop, here or by a command to another
// node, so there is no transaction to share. The entry goes first: there may be one
// of a deed that did not succeed, but no deed without one. Siblings write their
// own, in the transaction of the change.
func (c *Console) auditLog(ctx context.Context, v *visit, action, target string, detail any) error {
	return c.Tenants.Audit(ctx, v.login.Scope.In(c.DB), v.login.Scope, action, target, detail)
}
