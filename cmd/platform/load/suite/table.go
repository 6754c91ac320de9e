package suite

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// Line is one line of the table.
type Line struct {
	Load   string `json:"load"`
	Figure string `json:"figure"`
	Hibari Series `json:"hibari"`          // one value per round
	Naive  Series `json:"naive,omitempty"` // none where the yardstick has none
	Ratio  Series `json:"ratio,omitempty"`
	Target string `json:"target,omitempty"` // and whether the median met it

	format string
}

// Lines are all lines of the table.
func (r Result) Lines() (all []Line) {
	for _, m := range r.Loads {
		for _, f := range m.Load.figures {
			l := Line{Load: m.Load.Name, Figure: f.name, Hibari: f.series(m.Hibari), format: f.format}
			if !f.own {
				l.Naive = f.series(m.Naive)
			}
			if f.ratio {
				l.Ratio = l.Hibari.Over(l.Naive)
			}
			l.Target = f.target.text(l.Hibari, l.Ratio)
			all = append(all, l)
		}
	}
	for _, c := range comparisons {
		if s := c.series(r.Loads); s != nil {
			all = append(all, Line{Load: c.name, Figure: c.figure, Hibari: s, Target: c.target.text(s, nil), format: c.format})
		}
	}
	for _, s := range r.Scaling {
		all = append(all, s.lines()...)
	}
	return all
}

// Print writes the table, in Markdown: it goes into the documents as it is.
func (r Result) Print(out io.Writer) error {
	fmt.Fprintf(out, "%s\n\n", r.Machine)
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprint(w, "| load\t| figure\t| Hibari\t| naive pion\t| ratio\t| target\t|\n|---\t|---\t|---\t|---\t|---\t|---\t|\n")
	last := ""
	for _, l := range r.Lines() {
		name := l.Load
		if name == last {
			name = ""
		}
		last = l.Load
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t|\n",
			name, l.Figure, l.Hibari.text(l.format), l.Naive.text(l.format), l.Ratio.text("%.2f"), l.Target)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprint(out, "\nMedian [smallest–largest] of the rounds; ratios are taken round by round, less is better.\n")
	return r.warn(out)
}

// warn names the loads at which the load tool itself was the limit.
func (r Result) warn(out io.Writer) error {
	for _, m := range r.Loads {
		for _, report := range slices.Concat(m.Hibari, m.Naive) {
			if report.ToolCores > busyTool {
				_, err := fmt.Fprintf(out, "The load tool used %.2f cores at %q: latency and loss may be its own there.\n", report.ToolCores, m.Load.Name)
				if err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// busyTool is how much of one core the load tool may use before its own waits
// show.
const busyTool = 0.7
