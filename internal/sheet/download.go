package sheet

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	// downloadPiece is how many bytes of a file are kept before they are sent.
	downloadPiece = 32 << 10
	// DownloadStall is how long a client may take for one piece of a file: one that reads
	// no longer must not hold what the rest needs.
	DownloadStall = 30 * time.Second
)

// Download is a file on its way to a client, however large: it is sent piece by piece, and
// no more than one piece is kept. What fails before the first piece has gone can still be
// answered with an error; what fails later breaks the connection off, so that nobody takes
// a part for the whole. Owned by the request.
type Download struct {
	w       http.ResponseWriter
	kept    *bufio.Writer
	control *http.ResponseController
	begin   func(http.Header)
	begun   bool
}

// NewDownload returns the download of a file of a content type by a name.
func NewDownload(w http.ResponseWriter, contentType, name string) *Download {
	d := &Download{w: w, control: http.NewResponseController(w)}
	d.begin = func(h http.Header) {
		h.Set("Content-Type", contentType)
		h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	}
	d.kept = bufio.NewWriterSize(piece{d}, downloadPiece)
	return d
}

// Write keeps what is written, or sends it. An error means that the client is gone.
func (d *Download) Write(b []byte) (int, error) { return d.kept.Write(b) }

// End ends the file: sends the rest of it, or, if err says that it could not be read to
// its end, breaks it off. It returns err if the client can still be told of it. It panics
// with http.ErrAbortHandler to break off.
func (d *Download) End(err error) error {
	if err != nil && !d.begun {
		return err
	}
	if err == nil {
		err = d.kept.Flush()
	}
	if err == nil && !d.begun { // an empty file
		_, err = piece{d}.Write(nil)
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	d.control.SetWriteDeadline(time.Time{}) // the connection may serve another request
	return nil
}

// piece sends what it is given at once.
type piece struct{ d *Download }

func (p piece) Write(b []byte) (int, error) {
	if !p.d.begun {
		p.d.begun = true
		p.d.begin(p.d.w.Header())
	}
	err := p.d.control.SetWriteDeadline(time.Now().Add(DownloadStall))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := p.d.w.Write(b)
	if err == nil {
		if err = p.d.control.Flush(); errors.Is(err, http.ErrNotSupported) {
			err = nil
		}
	}
	return n, err
}
