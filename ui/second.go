package ui

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/boombuler/barcode/qr"

	"github.com/hibari/hibari/internal/tenant"
)

// The second step of a member's own log-in.

// beginSecond makes a secret and leads to the page that shows it.
func (c *Console) beginSecond(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Tenants.BeginSecondStep(r.Context(), v.login); err != nil && !errors.Is(err, tenant.ErrSecondStep) {
		return err
	}
	http.Redirect(w, r, "/console/profile/second-step", http.StatusSeeOther)
	return nil
}

// second shows the secret until a code has confirmed it.
func (c *Console) second(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showSecond(w, r, v, http.StatusOK, codeField(), "")
}

func (c *Console) showSecond(w http.ResponseWriter, r *http.Request, v *visit, status int, code input, problem string) error {
	secret, uri, err := c.Tenants.PendingSecondStep(r.Context(), v.login)
	if errors.Is(err, tenant.ErrNotFound) {
		http.Redirect(w, r, "/console/profile", http.StatusSeeOther)
		return nil
	}
	if err != nil {
		return err
	}
	path, size, err := qrPath(uri)
	if err != nil {
		return err
	}
	return v.page(w, r, status, secondPage(v, inFours(secret), uri, path, size, code, problem))
}

// confirmSecond turns it on and shows the recovery codes once.
func (c *Console) confirmSecond(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	codes, err := c.Tenants.ConfirmSecondStep(r.Context(), v.login, r.PostForm.Get("code"))
	if err == nil {
		return c.showCodes(w, r, v, "second-on", codes)
	}
	field := codeField()
	status, problem, err := onForm(err, map[string]*input{"code": &field})
	if err != nil {
		return err
	}
	return c.showSecond(w, r, v, status, field, problem)
}

// newCodes replaces the recovery codes.
func (c *Console) newCodes(w http.ResponseWriter, r *http.Request, v *visit) error {
	codes, err := c.Tenants.NewRecoveryCodes(r.Context(), v.login)
	if err != nil {
		return err
	}
	return c.showCodes(w, r, v, "codes", codes)
}

func (c *Console) showCodes(w http.ResponseWriter, r *http.Request, v *visit, done string, codes []string) error {
	err := c.handSecrets(w, v.login.Member.ID, "/console/profile", secrets{
		Title:  "Your recovery codes",
		Hint:   "They are shown only now. Each lets you in once in the place of a code, should you lose your phone. Keep them where you keep your passwords.",
		Values: []secretValue{{"Recovery codes", strings.Join(codes, "\n")}},
	})
	if err != nil {
		return err
	}
	return v.finish(w, r, "/console/profile", done)
}

// endSecond turns it off, by the password.
func (c *Console) endSecond(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	err := c.Tenants.EndSecondStep(r.Context(), v.login, r.PostForm.Get("old"), address(r))
	if err == nil {
		return v.finish(w, r, "/console/profile", "second-off")
	}
	d := emptyProfile()
	return c.refuseProfile(w, r, v, d, "second", err, map[string]*input{"old": &d.off})
}

// inFours writes a secret as people can type it.
func inFours(secret string) string {
	var b strings.Builder
	for i, r := range secret {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// qrPath returns a QR code as the path of its dark squares, for an SVG of size
// units with the quiet border that readers need.
func qrPath(text string) (path string, size int, err error) {
	const border = 4 // ISO/IEC 18004 §6.3.8
	code, err := qr.Encode(text, qr.M, qr.Unicode)
	if err != nil {
		return "", 0, fmt.Errorf("couldn't draw a QR code: %w", err)
	}
	var b strings.Builder
	bounds := code.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			if red, _, _, _ := code.At(x, y).RGBA(); red == 0 {
				fmt.Fprintf(&b, "M%d %dh1v1h-1z", x+border, y+border)
			}
		}
	}
	return b.String(), bounds.Dx() + 2*border, nil
}
