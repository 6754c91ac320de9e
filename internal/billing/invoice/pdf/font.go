package pdf

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/norm"
)

// The fonts are whole, because nobody knows which signs the next customer's name
// has; a document carries only the glyphs it uses. font/NOTICE.txt says where they
// are from.
//
//go:embed font/NotoSansJP-Regular.ttf.gz font/NotoSansJP-Bold.ttf.gz
var fontFiles embed.FS

// fonts are both weights, unpacked at the first document: about 11 MB that stay.
type fonts struct {
	regular, bold []byte
	parsed        *sfnt.Font // of the regular one: both have the same signs
}

var loadFonts = sync.OnceValues(func() (f fonts, err error) {
	if f.regular, err = unpack("NotoSansJP-Regular.ttf.gz"); err != nil {
		return f, err
	}
	if f.bold, err = unpack("NotoSansJP-Bold.ttf.gz"); err != nil {
		return f, err
	}
	if f.parsed, err = sfnt.Parse(f.regular); err != nil {
		return f, fmt.Errorf("couldn't read the font: %w", err)
	}
	return f, nil
})

func unpack(name string) ([]byte, error) {
	packed, err := fontFiles.ReadFile("font/" + name)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the font %s: %w", name, err)
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("couldn't unpack the font %s: %w", name, err)
	}
	defer plain.Close()
	font, err := io.ReadAll(plain)
	if err != nil {
		return nil, fmt.Errorf("couldn't unpack the font %s: %w", name, err)
	}
	return font, nil
}

// missing stands for a sign that the font does not have: the geta mark, as
// Japanese printers use it.
const missing = '〓'

// printable returns text with nothing in it that the font cannot show. A letter
// with a mark that is not there goes without the mark; controls are dropped;
// whatever else is missing becomes a geta mark.
func (f fonts) printable(text string) string {
	var shown strings.Builder
	var buffer sfnt.Buffer
	has := func(r rune) bool {
		glyph, err := f.parsed.GlyphIndex(&buffer, r)
		return err == nil && glyph != 0 && r <= 0xffff // the library knows only the basic plane
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Mn, r) }) {
		text = norm.NFC.String(text)
	}
	for _, r := range text {
		switch {
		case r == '\n' || has(r) && !unicode.IsControl(r):
			shown.WriteRune(r)
		case unicode.IsSpace(r):
			shown.WriteByte(' ')
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Mn, r):
		default:
			base := []rune(norm.NFD.String(string(r)))
			if len(base) > 1 && has(base[0]) {
				shown.WriteRune(base[0])
			} else {
				shown.WriteRune(missing)
			}
		}
	}
	return shown.String()
}
