package sfu

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"sync"
)

// errDeflate: a message is not zlib, has something behind it, or is longer than
// it may be.
var errDeflate = errors.New("message is not well compressed")

// A compressor of Go's needs hundreds of kilobytes, so few are shared by all.
var (
	deflaters = sync.Pool{New: func() any {
		w, err := zlib.NewWriterLevel(io.Discard, zlib.BestSpeed)
		if err != nil {
			panic(err) // the level is known
		}
		return w
	}}
	inflaters sync.Pool // of zlib.Resetter, made with the first message
)

// Deflate compresses a message as DataChannels with Compress carry it (zlib, RFC
// 1950).
func Deflate(message []byte) []byte {
	var b bytes.Buffer
	b.Grow(64 + len(message)/2)
	w := deflaters.Get().(*zlib.Writer)
	w.Reset(&b)
	_, _ = w.Write(message) // a Buffer never fails
	_ = w.Close()
	w.Reset(io.Discard)
	deflaters.Put(w)
	return b.Bytes()
}

// inflate decompresses a message of at most that many bytes.
func inflate(deflated []byte, most int) ([]byte, error) {
	source := bytes.NewReader(deflated)
	r, err := inflater(source)
	if err != nil {
		return nil, errDeflate
	}
	defer inflaters.Put(r)
	message, err := io.ReadAll(io.LimitReader(r.(io.Reader), int64(most)+1))
	if err != nil || len(message) > most || source.Len() > 0 {
		return nil, errDeflate
	}
	return message, nil
}

// inflater is a decompressor that has read the head of source.
func inflater(source *bytes.Reader) (zlib.Resetter, error) {
	if r, ok := inflaters.Get().(zlib.Resetter); ok {
		if err := r.Reset(source, nil); err != nil {
			inflaters.Put(r)
			return nil, err
		}
		return r, nil
	}
	r, err := zlib.NewReader(source)
	if err != nil {
		return nil, err
	}
	return r.(zlib.Resetter), nil
}
