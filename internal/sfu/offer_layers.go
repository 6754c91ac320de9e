package sfu

import (
	"slices"
	"strconv"
	"strings"
)

// Simulcast that a client offers (RFC 8853). It names its layers as it likes, while
// viewers ask for ours: r0 is the lowest quality.

// readOffered notes the layers of a section, the lowest quality first; fewer than
// two are no simulcast.
func (s *offeredSection) readOffered(value string) {
	var names []string
	for _, rid := range readLayers(value) {
		if isRID(rid) && !slices.Contains(names, rid) {
			names = append(names, rid)
		}
	}
	if len(names) < 2 || s.extensions[uriRID] == 0 {
		return
	}
	ordered := slices.Clone(names)
	lowestFirst(ordered)
	s.layers = ordered[max(0, len(ordered)-len(rids)):]
	s.named = slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(s.layers, name) })
}

// isRID reports whether a layer may be called so (RFC 8851 §10), and is told by a
// header extension of one byte.
func isRID(rid string) bool {
	for _, r := range rid {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
			return false
		}
	}
	return rid != "" && len(rid) <= maxMID
}

// qualities are names that say what a layer is like.
var qualities = map[string]int{
	"q": 1, "l": 1, "lo": 1, "low": 1, "quarter": 1,
	"h": 2, "m": 2, "mid": 2, "med": 2, "medium": 2, "half": 2,
	"f": 3, "hi": 3, "high": 3, "full": 3,
}

// lowestFirst puts layers in order. Nothing in an offer says which is which, so
// known names tell; digits alone are OBS Studio's, whose 0 is the full picture; and
// else they are as given, for a browser makes its first encoding the smallest
// unless it is told otherwise (WebRTC §5.2, scaleResolutionDownBy).
func lowestFirst(names []string) {
	quality := func(name string) int {
		name = strings.ToLower(name)
		if name == "h" && slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, "l") || strings.EqualFold(n, "m") }) {
			return 3 // h, m, l: high
		}
		if n, err := strconv.ParseUint(name, 10, 16); err == nil {
			return -1 - int(n)
		}
		return qualities[name]
	}
	for _, name := range names {
		if quality(name) == 0 {
			return
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return quality(a) - quality(b) })
}

// newOffered makes a track of the layers that a client offered.
func newOffered(m *member, layers []string) *track {
	t := &track{owner: m, kind: video}
	for i, name := range layers {
		l := newLayer(t, rids[i], i)
		l.wire = name
		t.layers = append(t.layers, l)
	}
	return t
}
