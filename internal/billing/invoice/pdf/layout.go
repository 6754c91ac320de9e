package pdf

import (
	"strconv"
	"time"
)

// The columns of a line, from its left edge to the next one's.
const (
	colName     = left
	colQuantity = 96.0
	colPrice    = 126.0
	colRate     = 152.0
	colAmount   = 166.0
	gap         = 3.0
)

// head draws what stands above the lines: the title, the facts, both parties, and
// the amount.
func (p *paper) head(d Document) {
	p.SetFillColor(blue[0], blue[1], blue[2])
	p.Rect(left, top-6, 12, 1.2, "F")
	japanese, english := d.Kind.names(d.Issuer.Registration != "")
	p.text(left, top, 90, titleStyle, "L", japanese)
	p.text(left, top+9.5, 90, style{9, 5, false, grey}, "L", english)
	if d.Draft {
		p.text(left, top+15, 90, style{9, 5, true, blue}, "L", "下書き（請求書ではありません） Draft, not an invoice")
	}
	facts := []Fact{{"番号", "Number", d.Number}, {"発行日", "Date of issue", day(d.Issued)}}
	if d.Draft {
		facts = nil
	}
	y := top + 0.5
	for _, fact := range append(facts, d.Facts...) {
		y = p.fact(112, y, 34, fact)
	}
	y = max(y, top+22) + 6

	customer, issuer := y, y
	customer = p.block(left, customer, 82, nameStyle, d.Customer.Name+"　御中")
	customer = p.party(left, customer+1, d.Customer)
	issuer = p.block(112, issuer, right-112, boldStyle, d.Issuer.Name)
	issuer = p.party(112, issuer, d.Issuer)

	y = max(customer, issuer) + 6
	p.box(left, y, right-left, 17, tint)
	p.box(left, y, 1.2, 17, blue)
	label := Fact{"ご請求金額（税込）", "Amount due, with tax", ""}
	if d.Kind == CreditNote {
		label = Fact{"返還金額（税込）", "Amount credited, with tax", ""}
	}
	p.text(left+6, y+3.7, 70, boldStyle, "L", label.Japanese)
	p.text(left+6, y+8.6, 70, labelStyle, "L", label.English)
	p.text(left+70, y+4, right-left-76, bigStyle, "R", d.Amount)
	p.y = y + 24
}

// fact draws a label and its value, which may be wrapped.
func (p *paper) fact(x, y, label float64, f Fact) float64 {
	p.text(x, y, label, labelStyle, "L", f.Japanese+"  "+f.English)
	return max(p.block(x+label, y, right-x-label, textStyle, f.Value), y+textStyle.height) + 0.4
}

// party draws what is below a name.
func (p *paper) party(x, y float64, who Party) float64 {
	width := 82.0
	if x > left {
		width = right - x
	}
	y = p.block(x, y, width, textStyle, who.Address)
	if who.Contact != "" {
		y = p.block(x, y, width, textStyle, who.Contact)
	}
	if who.Registration != "" {
		p.text(x, y+0.8, 34, labelStyle, "L", "登録番号  Registration")
		p.text(x+34, y+0.8, width-34, boldStyle, "L", who.Registration)
		y += 0.8 + boldStyle.height
	}
	return y
}

// lines draws the table, over as many pages as it takes.
func (p *paper) lines(d Document) {
	p.tableHead(d)
	for _, line := range d.Lines {
		names := p.wrap(line.Name, colQuantity-colName-gap, textStyle)
		var details []string
		for _, detail := range line.Detail {
			details = append(details, p.wrap(detail, colQuantity-colName-gap, smallStyle)...)
		}
		height := 1.6 + float64(len(names))*textStyle.height + float64(len(details))*smallStyle.height + 1.8
		if p.room(height) {
			p.tableHead(d)
		}
		y := p.y + 1.6
		p.text(colQuantity, y, colPrice-colQuantity-gap, textStyle, "R", line.Quantity)
		p.text(colPrice, y, colRate-colPrice-gap, textStyle, "R", line.UnitPrice)
		p.text(colRate, y, colAmount-colRate-gap, textStyle, "R", line.Rate)
		p.text(colAmount, y, right-colAmount, textStyle, "R", line.Amount)
		for _, name := range names {
			p.text(colName, y, colQuantity-colName-gap, textStyle, "L", name)
			y += textStyle.height
		}
		for _, detail := range details {
			p.text(colName, y, colQuantity-colName-gap, smallStyle, "L", detail)
			y += smallStyle.height
		}
		p.y = y + 1.8
		p.line(p.y, 0.1, rule)
	}
}

// tableHead draws the names of the columns.
func (p *paper) tableHead(d Document) {
	head := func(x, width float64, align, japanese, english string) {
		p.text(x, p.y, width, style{8, 4, true, black}, align, japanese)
		p.text(x, p.y+3.8, width, style{7, 3.4, false, grey}, align, english)
	}
	head(colName, colQuantity-colName-gap, "L", "内容", "Description")
	head(colQuantity, colPrice-colQuantity-gap, "R", "数量", "Quantity")
	head(colPrice, colRate-colPrice-gap, "R", "単価", "Unit price")
	head(colRate, colAmount-colRate-gap, "R", "税率", "Tax rate")
	head(colAmount, right-colAmount, "R", "金額（税抜）", d.Currency+", without tax")
	p.y += 8.6
	p.line(p.y, 0.3, black)
}

// sums draws the taxes, the totals and the notes, which stay together.
func (p *paper) sums(d Document) {
	const x = 96.0
	height := 14 + float64(len(d.Taxes)+len(d.Sums))*5.6
	p.room(height)
	p.y += 5
	notes := p.y
	column := (right - x - 4) / 3
	head := func(i int, align, japanese, english string) {
		p.text(x+2+float64(i)*column, p.y, column, style{7.5, 4, false, grey}, align, japanese+" "+english)
	}
	head(0, "L", "税率", "Rate")
	head(1, "R", "対象額（税抜）", "Base")
	head(2, "R", "消費税", "Tax")
	p.y += 4.8
	p.part(x)
	for _, tax := range d.Taxes {
		p.y += 0.6
		p.text(x+2, p.y, column, textStyle, "L", tax.Rate)
		p.text(x+2+column, p.y, column, textStyle, "R", tax.Base)
		p.text(x+2+2*column, p.y, column, textStyle, "R", tax.Amount)
		p.y += 5
	}
	p.part(x)
	for i, sum := range d.Sums {
		s := textStyle
		if i == len(d.Sums)-1 {
			p.y += 1
			p.box(x, p.y, right-x, 8, tint)
			p.y += 1.2
			s = style{10, 5.6, true, black}
		}
		p.y += 0.6
		p.text(x+2, p.y, right-x-4, s, "L", sum.Japanese+"  "+sum.English)
		p.text(x+2, p.y, right-x-4, s, "R", sum.Value)
		p.y += 5
	}
	end := p.y + 4
	for _, note := range d.Notes {
		p.text(left, notes, x-left-6, labelStyle, "L", note.Japanese+"  "+note.English)
		notes = p.noteText(notes+labelStyle.height, x-left-6, note.Value) + 2.5
	}
	p.y = max(end, p.y)
}

// noteText draws a note's text, which goes on over pages if it is long.
func (p *paper) noteText(y, width float64, text string) float64 {
	for _, line := range p.wrap(text, width, textStyle) {
		if y+textStyle.height > bottom {
			p.AddPage()
			y = top
			p.y = top
		}
		p.text(left, y, width, textStyle, "L", line)
		y += textStyle.height
	}
	return y
}

// part draws a rule over the right part.
func (p *paper) part(x float64) {
	p.SetDrawColor(rule[0], rule[1], rule[2])
	p.SetLineWidth(0.1)
	p.Line(x, p.y, right, p.y)
}

// room begins a page if there is no more room for so much, and reports whether it
// did.
func (p *paper) room(height float64) bool {
	if p.y+height <= bottom {
		return false
	}
	p.AddPage()
	p.y = top
	return true
}

// feet draws what stands at the foot of every page, once it is known how many
// there are.
func (p *paper) feet(d Document) {
	pages := p.PageCount()
	name := d.Issuer.Name
	for page := 1; page <= pages; page++ {
		p.SetPage(page)
		p.line(bottom+5, 0.1, rule)
		mark := d.Number
		if d.Draft {
			mark = "下書き Draft"
		}
		foot := p.wrap(name, 100, smallStyle)
		p.text(left, bottom+6.5, 100, smallStyle, "L", append(foot, "")[0])
		p.text(left, bottom+6.5, right-left, smallStyle, "R", mark+"    "+strconv.Itoa(page)+" / "+strconv.Itoa(pages))
	}
}

// day is a date as both languages read it.
func day(t time.Time) string { return t.Format("2006-01-02") }
