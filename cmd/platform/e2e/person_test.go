package e2e

import (
	"context"
	"strings"

	"github.com/chromedp/chromedp"
)

// What a person does with a page: fill in what is labelled, press what is
// named. The tests know labels and names, not ids.

// helpers finds visible things by the words on them.
const helpers = `(() => {
  const visible = (e) => e.getClientRects().length > 0
  const says = (e, text) => (e.getAttribute("aria-label") ?? e.innerText).trim() === text
  window.labelled = (text) => {
    const label = [...document.querySelectorAll("label")].find((l) => l.innerText.trim().startsWith(text))
    return label && (label.control ?? document.getElementById(label.htmlFor))
  }
  window.button = (text, within = document) =>
    [...within.querySelectorAll("button, input[type=submit], a.btn")].find((b) => visible(b) && !b.disabled && says(b, text))
  return true
})()`

// fill types into the field with a label.
func (p *tab) fill(label, value string) {
	p.t.Helper()
	p.until("there is a field "+label, helpers+" && !!labelled(%s)", label)
	eval[bool](p, `(() => { const f = labelled(%s); f.focus(); f.value = %s; f.dispatchEvent(new Event("input", {bubbles: true})); return true })()`, label, value)
}

// press clicks the button with a name.
func (p *tab) press(name string) {
	p.t.Helper()
	p.until("there is a button "+name, helpers+" && !!button(%s)", name)
	eval[bool](p, "(setTimeout(() => button(%s).click()), true)", name)
}

// arrives waits until the page's path is one.
func (p *tab) arrives(path string) {
	p.t.Helper()
	p.until("the page is "+path, "location.pathname === %s && document.readyState === 'complete'", path)
}

// signUp makes a tenant in the browser and ends on its console.
func (b *browser) signUp(s *server, organization string) *tab {
	b.t.Helper()
	p := b.open(s.url + "/signup")
	p.fill("Organization", organization)
	p.fill("Email", strings.ToLower(organization)+"@example.com")
	p.fill("Password", password)
	p.press("Sign up")
	p.arrives("/console")
	return p
}

// logIn opens a page of the console as the tenant's owner.
func (b *browser) logIn(s *server, a account, path string) *tab {
	b.t.Helper()
	p := b.open(s.url + path)
	p.arrives("/login")
	p.fill("Email", a.Email)
	p.fill("Password", password)
	p.press("Log in")
	p.arrives(path)
	return p
}

// typeKeys presses keys, one after the other.
func (p *tab) typeKeys(keys string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.DevTools(), patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.KeyEvent(keys)); err != nil {
		p.t.Fatal(err)
	}
}

// reach gets to the button with a name by the Tab key, and presses key on it.
func (p *tab) reach(name, key string) {
	p.t.Helper()
	p.until("there is a button "+name, helpers+" && !!button(%s)", name)
	for range 60 {
		if eval[bool](p, "document.activeElement === button(%s)", name) {
			p.typeKeys(key)
			return
		}
		p.typeKeys("\t")
	}
	p.t.Fatalf("Tab never gets to %s", name)
}
