package signaling

import "github.com/hibari/hibari/internal/sfu"

// packing is how a message becomes what travels.
type packing struct {
	name   string // for a Memo: of the dialect and the form
	append func(dst []byte, message any) ([]byte, error)
}

// The packings of DataChannels; that of a WebSocket is framed.
var (
	compressed = packing{"sora zlib", appendCompressed} // a binary message
	plain      = packing{"sora text", appendText}       // a string message
)

// framed packs a dialect's messages for a WebSocket.
func framed(d dialect) packing { return packing{d.protocol(), appendMessage} }

// appendCompressed appends a message in JSON as a zlib stream.
func appendCompressed(dst []byte, message any) ([]byte, error) {
	buffer := buffers.Get().(*[]byte)
	text, err := appendText((*buffer)[:0], message)
	if err == nil {
		dst = append(dst, sfu.Deflate(text)...)
	}
	keep(buffer, text)
	return dst, err
}
