package webhooks

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/hibari/hibari/internal/tenant"
)

// maxPageBytes bounds what a page holds, unless a single event is larger.
const maxPageBytes = 256 << 10

// page is some events of a tenant that follow each other without a gap, and the
// WebSocket frames that say them. All who follow the tenant share it.
type page struct {
	// Static.
	events []tenant.Event
	size   int64 // bytes, about: of what the events hold

	today, of2015 frames // made by whoever needs them first
}

// frames are a page's events in one dialect, as they go over the wire.
type frames struct {
	once sync.Once
	// Static after once.
	wire []byte // one frame after another
	ends []int  // where the frame of each event ends; one without ends where the one before did
	err  error
}

// pagesOf cuts events, which follow each other, into pages.
func pagesOf(events []tenant.Event) []*page {
	var pages []*page
	for len(events) > 0 {
		var size int64
		n := 0
		for n < len(events) && (n == 0 || size+sizeOf(events[n]) <= maxPageBytes) {
			size += sizeOf(events[n])
			n++
		}
		pages = append(pages, &page{events: events[:n:n], size: size})
		events = events[n:]
	}
	return pages
}

// sizeOf is about how many bytes an event takes.
func sizeOf(e tenant.Event) int64 {
	const envelopeBytes = 320
	return int64(len(e.Data) + len(e.Channel) + envelopeBytes)
}

// last returns the seq of the page's last event.
func (p *page) last() int64 { return p.events[len(p.events)-1].Seq }

// framed returns the page's frames in a dialect, which it makes once for
// everybody.
func (p *page) framed(sora2015 bool) (*frames, error) {
	f, say := &p.today, envelope
	if sora2015 {
		f, say = &p.of2015, record2015
	}
	f.once.Do(func() { f.err = f.make(p.events, say) })
	return f, f.err
}

func (f *frames) make(events []tenant.Event, say func(tenant.Event) ([]byte, error)) error {
	f.ends = make([]int, 0, len(events))
	for _, e := range events {
		text, err := say(e)
		if err != nil {
			return err
		}
		if text != nil {
			f.wire = appendFrame(f.wire, opText, text)
		}
		f.ends = append(f.ends, len(f.wire))
	}
	return nil
}

// of returns the frame of the page's i-th event; nil if it has none.
func (f *frames) of(i int) []byte {
	from := 0
	if i > 0 {
		from = f.ends[i-1]
	}
	return f.wire[from:f.ends[i]]
}

// The opcodes of RFC 6455 that we write ourselves.
const (
	opText = 0x1
	opPing = 0x9
)

// appendFrame adds a whole, unmasked frame (RFC 6455 §5.2) to b: what a server
// says is the same to every client, so it is put into a frame once.
func appendFrame(b []byte, opcode byte, payload []byte) []byte {
	const final = 0x80
	b = append(b, final|opcode)
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// Filter says which events are wanted. The zero Filter wants all.
type Filter struct {
	Types      []string // any of these; none: every type
	Channel    string   // events of this channel; "": of any, and of none
	Connection string   // the same by connection id
}

// all reports whether every event is wanted.
func (f Filter) all() bool { return len(f.Types) == 0 && f.Channel == "" && f.Connection == "" }

func (f Filter) wants(e *tenant.Event) bool {
	return (len(f.Types) == 0 || slices.Contains(f.Types, string(e.Type))) &&
		(f.Channel == "" || f.Channel == e.Channel) &&
		(f.Connection == "" || f.Connection == e.ConnectionID)
}

// check refuses a filter that no event could pass.
func (f Filter) check() error {
	for _, name := range f.Types {
		if !slices.Contains(Types, name) {
			return fmt.Errorf("types: there is no event type %.60q", name)
		}
	}
	if len(f.Channel) > tenant.MaxNameBytes || len(f.Connection) > tenant.MaxNameBytes {
		return fmt.Errorf("channel_id and connection_id have at most %d bytes", tenant.MaxNameBytes)
	}
	return nil
}
