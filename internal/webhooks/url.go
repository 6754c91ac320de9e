package webhooks

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/hibari/hibari/internal/tenant"
)

// maxURL is the longest URL we store, in bytes.
const maxURL = 2048

// CheckURL reports as a *tenant.FieldError what is wrong with a URL that a tenant
// gave us. A URL that passes may still lead to a forbidden address: that is
// decided when it is dialled, each time.
func (e *Egress) CheckURL(text string) error {
	if len(text) > maxURL {
		return wrongURL("The URL is longer than %d characters.", maxURL)
	}
	if text != strings.TrimSpace(text) || text == "" {
		return wrongURL("Enter a URL such as https://example.com/hooks, without spaces around it.")
	}
	u, err := url.Parse(text)
	if err != nil {
		return wrongURL("This is not a URL. It should look like https://example.com/hooks.")
	}
	if u.Fragment != "" || strings.HasSuffix(text, "#") {
		return wrongURL("Leave out the part after #: it is never sent.")
	}
	return e.checkURL(u)
}

func (e *Egress) checkURL(u *url.URL) error {
	if u.Scheme != "https" && (u.Scheme != "http" || e.Production) {
		if u.Scheme == "http" {
			return wrongURL("Use https: deliveries carry data about your users.")
		}
		return wrongURL("The URL must begin with https://.")
	}
	if u.User != nil {
		return wrongURL("Leave out the user name and password: check the signature instead.")
	}
	host, problem := hostOf(u)
	if problem != "" {
		return wrongURL("%s", problem)
	}
	port := uint64(443)
	if u.Scheme == "http" {
		port = 80
	}
	if u.Port() != "" || strings.HasSuffix(u.Host, ":") {
		var err error
		if port, err = strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
			return wrongURL("The port must be a number from 1 to 65535.")
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if err := e.checkAddress(addr, uint16(port)); err != nil {
			return wrongURL("%s", sentence(err.Error()))
		}
	} else if e.Production && port != 80 && port != 443 {
		return wrongURL("Port %d is not allowed: use 443.", port)
	}
	return nil
}

// hostOf returns the host in the form in which it will be asked for: an IP address
// or a name of ASCII letters. Names that some resolvers take for an address, such
// as 0177.0.0.1, 0x7f.1 or 2130706433, are no names (WHATWG URL, "ends in a
// number").
func hostOf(u *url.URL) (host, problem string) {
	host = u.Hostname()
	if host == "" || u.Opaque != "" || strings.ContainsAny(host, "%\\ ") {
		return "", "The URL needs a host name, such as example.com."
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host, ""
	}
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil && strings.Trim(host, hostLetters) == "" {
		ascii, err = strings.ToLower(strings.TrimSuffix(host, ".")), nil // underscores and the like, as the DNS allows
	}
	if err != nil || ascii == "" || len(ascii) > maxHost {
		return "", "The host is not a name such as example.com."
	}
	labels := strings.Split(ascii, ".")
	for _, label := range labels {
		if label == "" || len(label) > maxHostLabel {
			return "", "The host is not a name such as example.com."
		}
	}
	if isNumber(labels[len(labels)-1]) {
		if addr, err := netip.ParseAddr(ascii); err == nil {
			return addr.String(), ""
		}
		return "", "Write an address as four decimal numbers, such as 93.184.215.14."
	}
	return ascii, ""
}

// isNumber reports whether a label is decimal, octal or hexadecimal digits.
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

const (
	maxHost      = 253 // bytes of a name (RFC 1035 §2.3.4)
	maxHostLabel = 63  // and of a part of one
	hostLetters  = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
)

func wrongURL(format string, args ...any) error {
	return &tenant.FieldError{Field: "url", Problem: fmt.Sprintf(format, args...)}
}

// sentence makes an error text one that a form can show.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }
