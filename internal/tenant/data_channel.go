package tenant

import (
	"encoding/json"
	"slices"
	"strings"
)

// DataChannel is a messaging channel that a client asks for, or that its tenant
// gives it.
type DataChannel struct {
	Label             string // begins with "#"
	Direction         Role   // the client's
	Unordered         bool
	MaxPacketLifeTime *uint16 // milliseconds; nil: reliable. Not with MaxRetransmits
	MaxRetransmits    *uint16
	Protocol          string
	Compress          bool
	SenderHeader      bool // what it receives begins with the sender's connection id
	Expendable        bool // of a door: what is sent on it may be lost rather than fill the way
}

// senderHeader is the one header that messages can have.
const senderHeader = "sender_connection_id"

// dataChannelJSON is a DataChannel in Sora's words.
type dataChannelJSON struct {
	Label             string              `json:"label"`
	Direction         Role                `json:"direction"`
	Ordered           bool                `json:"ordered"`
	MaxPacketLifeTime *uint16             `json:"max_packet_life_time,omitempty"`
	MaxRetransmits    *uint16             `json:"max_retransmits,omitempty"`
	Protocol          string              `json:"protocol,omitempty"`
	Compress          bool                `json:"compress"`
	Header            []map[string]string `json:"header,omitempty"`
}

// MarshalJSON writes the channel as it stands in data_channels.
func (d DataChannel) MarshalJSON() ([]byte, error) {
	v := dataChannelJSON{
		d.Label, d.Direction, !d.Unordered, d.MaxPacketLifeTime, d.MaxRetransmits, d.Protocol, d.Compress, nil,
	}
	if d.SenderHeader {
		v.Header = []map[string]string{{"type": senderHeader}}
	}
	return json.Marshal(v)
}

// ReadDataChannels reads the field data_channels; nil if absent, and not nil if
// empty.
func ReadDataChannels(f Fields) []DataChannel {
	list := f.Objects("data_channels", MaxDataChannels)
	if list == nil {
		return nil
	}
	found := make([]DataChannel, 0, len(list))
	for _, o := range list {
		d := DataChannel{
			Label:             o.Name("label"),
			Direction:         Role(o.Choice("direction", string(SendOnly), string(RecvOnly), string(SendRecv))),
			Unordered:         !o.Flag("ordered", true),
			MaxPacketLifeTime: uint16Of(o.Count("max_packet_life_time", 0, 1<<16-1)),
			MaxRetransmits:    uint16Of(o.Count("max_retransmits", 0, 1<<16-1)),
			Compress:          o.Flag("compress", false),
			SenderHeader:      readSenderHeader(o),
		}
		if o.Text("protocol") != "" {
			d.Protocol = o.Name("protocol")
		}
		if d.Direction == "" {
			d.Direction = SendRecv
		}
		switch {
		case !strings.HasPrefix(d.Label, "#"):
			o.Fail("label", "must begin with #")
		case slices.ContainsFunc(found, func(other DataChannel) bool { return other.Label == d.Label }):
			o.Fail("label", "is there twice: "+d.Label)
		case d.MaxPacketLifeTime != nil && d.MaxRetransmits != nil:
			o.Fail("max_packet_life_time", "and max_retransmits exclude each other")
		}
		found = append(found, d)
	}
	return found
}

// readSenderHeader reports whether the header is asked for.
func readSenderHeader(f Fields) bool {
	asked := false
	for _, header := range f.Objects("header", 1) {
		asked = header.Choice("type", senderHeader) != ""
	}
	return asked
}

func uint16Of(n *int) *uint16 {
	if n == nil {
		return nil
	}
	return new(uint16(*n))
}
