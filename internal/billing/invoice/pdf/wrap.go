package pdf

import (
	"strings"
	"unicode"
)

// wrap cuts text into lines no wider than width: at its own ends of lines, at
// spaces, between two signs of Japanese, and in the middle of a word only if the
// word alone is too wide.
func (p *paper) wrap(text string, width float64, s style) (lines []string) {
	p.use(s)
	for paragraph := range strings.SplitSeq(p.fonts.printable(text), "\n") {
		lines = append(lines, p.wrapParagraph([]rune(strings.TrimSpace(paragraph)), width)...)
	}
	return lines
}

func (p *paper) wrapParagraph(text []rune, width float64) (lines []string) {
	if len(text) == 0 {
		return nil
	}
	begin, cut, wide := 0, 0, 0.0 // cut: where the line may end, 0 if nowhere yet
	for i := 0; i < len(text); i++ {
		if i > begin && mayBreak(text[i-1], text[i]) {
			cut = i
		}
		wide += p.GetStringWidth(string(text[i]))
		if wide <= width || i == begin {
			continue
		}
		if cut <= begin {
			cut = i
		}
		lines = append(lines, strings.TrimSpace(string(text[begin:cut])))
		for cut < len(text) && text[cut] == ' ' {
			cut++
		}
		begin, wide = cut, 0
		i = begin - 1
	}
	if begin < len(text) {
		lines = append(lines, strings.TrimSpace(string(text[begin:])))
	}
	return lines
}

// Signs that no line of Japanese begins or ends with (a short kinsoku list).
const (
	notFirst = "、。，．・：；？！）］｝」』】〉》〕ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ)]},.%"
	notLast  = "（［｛「『【〈《〔([{¥"
)

// mayBreak reports whether a line may end between two signs.
func mayBreak(before, after rune) bool {
	switch {
	case strings.ContainsRune(notFirst, after) || strings.ContainsRune(notLast, before) || before == '御' && after == '中':
		return false
	case before == ' ' || before == '-' && unicode.IsLetter(after):
		return after != ' '
	}
	return wideSign(before) || wideSign(after) && after != ' '
}

// wideSign reports whether r is written without spaces around it.
func wideSign(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r >= 0x3000 && r <= 0x303f || r >= 0xff00 && r <= 0xffef
}
