package main

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/hibari/hibari/internal/tenant"
)

// maxForwarded bounds how many hops of a forwarding header are looked at; behind
// more proxies than that nobody is.
const maxForwarded = 32

// withCaller makes the client's address the request's RemoteAddr, also behind
// the proxies of HIBARI_TRUSTED_PROXIES, and gives the request an id, which the
// answer carries as X-Request-Id and the audit log keeps.
func (p *platform) withCaller(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller := tenant.Caller{RequestID: tenant.NewID()}
		if client := clientAddress(r.RemoteAddr, r.Header, p.config.trustedProxies); client.IsValid() {
			caller.Address = client.String()
			r.RemoteAddr = net.JoinHostPort(caller.Address, portOf(r.RemoteAddr))
		}
		w.Header().Set("X-Request-Id", caller.RequestID)
		next.ServeHTTP(w, r.WithContext(tenant.WithCaller(r.Context(), caller)))
	})
}

// portOf is the peer's port: behind a proxy it is the proxy's, and nobody's
// address depends on it.
func portOf(hostPort string) string {
	if _, port, err := net.SplitHostPort(hostPort); err == nil {
		return port
	}
	return "0"
}

// clientAddress returns who made a request: the peer itself, or, if that is a
// trusted proxy, whom it says it forwards for. The headers are read from right to
// left, because each proxy adds on the right: the first address that is no
// trusted proxy's is the client's, and what stands left of it anybody may have
// written. A hop that cannot be read ends the search at the proxy that wrote it.
// Forwarded (RFC 7239) goes before X-Forwarded-For, and both are never mixed. The
// zero Addr: the peer has no IP address.
func clientAddress(peer string, header http.Header, trusted []netip.Prefix) netip.Addr {
	client := hop(peer)
	if !client.IsValid() || !isTrusted(client, trusted) {
		return client
	}
	hops, ok := forwardedFor(header.Values("Forwarded"))
	if len(header.Values("Forwarded")) == 0 {
		hops, ok = listed(header.Values("X-Forwarded-For")), true
	}
	if !ok {
		return client
	}
	for i, text := range slices.Backward(hops) {
		addr := hop(text)
		if !addr.IsValid() || len(hops)-i > maxForwarded {
			return client
		}
		if client = addr; !isTrusted(addr, trusted) {
			return client
		}
	}
	return client
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// hop reads an address with or without a port; IPv6 may be in brackets.
func hop(text string) netip.Addr {
	text = strings.TrimSpace(text)
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		withPort, errPort := netip.ParseAddrPort(text)
		if errPort != nil {
			return netip.Addr{}
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("")
}

// listed splits the lines of a list header, of which several are one.
func listed(lines []string) (values []string) {
	for _, line := range lines {
		for value := range strings.SplitSeq(line, ",") {
			if value = strings.TrimSpace(value); value != "" { // RFC 9110 §5.6.1.2: empty elements are skipped
				values = append(values, value)
			}
		}
	}
	return values
}

// forwardedFor returns the for parameters of a Forwarded header (RFC 7239 §4),
// one for each element, "" for an element without one. It is false if the header
// is broken: then nothing in it can be relied on.
func forwardedFor(lines []string) (hops []string, ok bool) {
	for _, line := range lines {
		for rest := line; ; {
			node, after, end, good := forwardedElement(rest)
			if !good {
				return nil, false
			}
			hops = append(hops, node)
			if end {
				break
			}
			rest = after
		}
	}
	return hops, true
}

// forwardedElement reads one element: pairs of token "=" (token / quoted-string),
// separated by semicolons, up to a comma or the end.
func forwardedElement(text string) (node, rest string, end, ok bool) {
	seen := false
	for {
		text = strings.TrimLeft(text, " \t")
		switch {
		case text == "":
			return node, "", true, true
		case text[0] == ',':
			return node, text[1:], false, true
		case text[0] == ';':
			text = text[1:]
			continue
		}
		name, after, found := strings.Cut(text, "=")
		if !found || name == "" || strings.ContainsAny(name, ",;\" \t") {
			return "", "", false, false
		}
		value, after, good := forwardedValue(after)
		if !good {
			return "", "", false, false
		}
		if strings.EqualFold(name, "for") {
			if seen {
				return "", "", false, false // RFC 7239 §4: each parameter once
			}
			node, seen = value, true
		}
		if text = strings.TrimLeft(after, " \t"); text != "" && text[0] != ';' && text[0] != ',' {
			return "", "", false, false
		}
	}
}

// forwardedValue reads a token or a quoted string.
func forwardedValue(text string) (value, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, ",; \t\"")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), text[i+1:], true
		case '\\':
			if i++; i == len(text) {
				return "", "", false
			}
		}
		b.WriteByte(text[i])
	}
	return "", "", false
}
