package signaling

import "time"

// Limits bounds what a client may send and how long each step may take. A
// zero field means its default.
type Limits struct {
	MessageBytes        int // of one message, decompressed; default 1 MiB, because a pong carries statistics
	Depth               int // of nested JSON in a connect; default 64
	NotifyMetadataBytes int // of signaling_notify_metadata, which everybody in the channel is sent; default 8 KiB
	MessageBurst        int // messages that a client may send over its WebSocket at once, each 4 KiB of one counting as one more; default 2,000
	MessageRate         int // the same, a second in the long run; default 200
	ConnectBurst        int // clients with a good token that one tenant may send to this node at once; default 2,000
	ConnectRate         int // the same, a second in the long run; default 100
	PeerBurst           int // bytes that a client in a room may send at once, a message counting at least 256; default 2 MiB
	PeerRate            int // bytes a second in the long run; default 64 KiB

	Connect  time.Duration // from the socket's opening to its connect message; default 10 s
	Admit    time.Duration // for verifying the token and taking a licence place; default 5 s
	Answer   time.Duration // from an offer or re-offer to its answer; default 10 s
	Media    time.Duration // from the first answer to connected media, and from there to open DataChannels; default 15 s
	Write    time.Duration // for one message to leave; default 10 s
	Ping     time.Duration // between pings; default 5 s
	Stats    time.Duration // between two questions for statistics; default 60 s
	Pong     time.Duration // of silence until a client counts as lost; default 60 s
	Meet     time.Duration // from the second client's coming into a room to the answer of its offer; default 60 s
	Read     time.Duration // of silence of a client in a room, which is sent no pings if it asked so; default 90 s
	Farewell time.Duration // for the WebSocket close handshake, and for a client without one to go; default 2 s

	RetryFirst time.Duration // wait after the ledger's first failure, doubled each time; default 100 ms
	RetryMost  time.Duration // longest wait between two tries; default 10 s
}

// withDefaults returns l with every zero field replaced.
func (l Limits) withDefaults() Limits {
	ints := []struct {
		field *int
		value int
	}{
		{&l.MessageBytes, 1 << 20}, {&l.Depth, 64}, {&l.NotifyMetadataBytes, 8 << 10},
		{&l.MessageBurst, 2000}, {&l.MessageRate, 200},
		{&l.ConnectBurst, 2000}, {&l.ConnectRate, 100},
		{&l.PeerBurst, 2 << 20}, {&l.PeerRate, 64 << 10},
	}
	for _, d := range ints {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	durations := []struct {
		field *time.Duration
		value time.Duration
	}{
		{&l.Connect, 10 * time.Second}, {&l.Admit, 5 * time.Second}, {&l.Answer, 10 * time.Second},
		{&l.Media, 15 * time.Second}, {&l.Write, 10 * time.Second}, {&l.Ping, 5 * time.Second},
		{&l.Stats, time.Minute}, {&l.Pong, time.Minute}, {&l.Farewell, 2 * time.Second},
		{&l.Meet, time.Minute}, {&l.Read, 90 * time.Second},
		{&l.RetryFirst, 100 * time.Millisecond}, {&l.RetryMost, 10 * time.Second},
	}
	for _, d := range durations {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return l
}
