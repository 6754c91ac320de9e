package webhooks

import "net/netip"

// The addresses that are not the public Internet's, from the IANA special
// purpose registries (RFC 6890 and successors). The predicates of net/netip
// know fewer than half of them.
var (
	special4 = prefixes(
		"0.0.0.0/8",          // this network
		"10.0.0.0/8",         // private
		"100.64.0.0/10",      // carrier-grade NAT
		"127.0.0.0/8",        // loopback
		"169.254.0.0/16",     // link-local, cloud metadata
		"172.16.0.0/12",      // private
		"192.0.0.0/24",       // IETF protocol assignments
		"192.0.2.0/24",       // documentation
		"192.31.196.0/24",    // AS112
		"192.52.193.0/24",    // AMT
		"192.88.99.0/24",     // 6to4 relays
		"192.168.0.0/16",     // private
		"192.175.48.0/24",    // AS112
		"198.18.0.0/15",      // benchmarking
		"198.51.100.0/24",    // documentation
		"203.0.113.0/24",     // documentation
		"224.0.0.0/4",        // multicast
		"240.0.0.0/4",        // reserved, broadcast
		"168.63.129.16/32",   // Azure's host agent, on a public address
		"100.100.100.200/32", // Alibaba's metadata, inside 100.64.0.0/10; named for the reader
	)
	// Of IPv6 only global6 is handed out; everything else (loopback,
	// IPv4-compatible, NAT64, unique local, link-local, site-local, multicast,
	// segment routing) is refused by not being in it.
	global6  = netip.MustParsePrefix("2000::/3")
	special6 = prefixes(
		"2001::/23",         // IETF protocol assignments: Teredo, ORCHID, benchmarking
		"2001:db8::/32",     // documentation
		"2002::/16",         // 6to4: carries an IPv4 address
		"2620:4f:8000::/48", // AS112
		"3fff::/20",         // documentation
	)
)

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// isPublic reports whether addr, already unmapped, is an address of the public
// Internet.
func isPublic(addr netip.Addr) bool {
	special := special4
	if !addr.Is4() {
		if addr.Zone() != "" || !global6.Contains(addr) {
			return false
		}
		special = special6
	}
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}
