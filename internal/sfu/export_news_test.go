package sfu

import "encoding/json"

// GoUp tells everybody that member i is connected, as if it had not been.
func (f *Fed) GoUp(i int) {
	f.members[i].up = false
	f.w.goneUp(f.members[i])
}

// Down makes member i one whose transport is not up yet.
func (f *Fed) Down(i int) { f.members[i].up = false }

// Remove ends member i.
func (f *Fed) Remove(i int, reason string) { f.w.remove(f.members[i], reason) }

// Take is what member i's door has been told since the last time.
func (f *Fed) Take(i int) []Signal {
	signals, _ := f.members[i].conn.Take(nil)
	return signals
}

// Shows reports whether member i is to be shown the media of a member.
func (f *Fed) Shows(i, of int) bool { return f.ShowsKind(i, of, "audio") }

// ShowsKind is Shows for "audio" or "video".
func (f *Fed) ShowsKind(i, of int, kind string) bool {
	for _, t := range f.members[of].ups {
		if t != nil && t.kind.String() == kind {
			return f.w.isShown(f.members[i], t)
		}
	}
	return false
}

// Put changes member i's metadata, all of it if key is "".
func (f *Fed) Put(i int, key string, value json.RawMessage, push []byte) (json.RawMessage, error) {
	c := f.members[i].conn
	return f.w.changeMetadata(c.member, push, func(ext json.RawMessage) (json.RawMessage, error) {
		if key == "" {
			return value, nil
		}
		return putItem(ext, key, value)
	})
}

// Announce has everybody learn of everything that may be published.
func (f *Fed) Announce() {
	for _, m := range f.members {
		for _, t := range m.ups {
			if t != nil {
				t.announced = true
			}
		}
	}
	f.w.rearrange()
}

// Info is what is known about member i.
func (f *Fed) Info(i int) ConnectionInfo { return f.members[i].conn.Info() }
