package ui

import "net/http"

// landing is the front page; members are taken to their console.
func (c *Console) landing(w http.ResponseWriter, r *http.Request) {
	if _, err := c.session(r); err == nil {
		http.Redirect(w, r, "/console", http.StatusSeeOther)
		return
	}
	c.render(w, r, http.StatusOK, c.landingPage())
}

// favicon answers browsers that ask before they have read a page.
func (c *Console) favicon(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, c.assets.url["favicon.svg"], http.StatusFound)
}
