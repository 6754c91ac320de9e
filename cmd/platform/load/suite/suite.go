// Package suite is the benchmark as a whole: it starts Hibari and the naive
// yardstick, each in a process of its own and anew for every load, loads them
// in turn with the same clients, and prints one table of medians, spreads and
// ratios. The parts it runs are commands of the platform's own binary: serve,
// bench naive and bench.
package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hibari/hibari/cmd/platform/load"
)

// Config says how much to measure.
type Config struct {
	Binary   string        // the platform
	Rounds   int           // how often every load is measured, on both servers in turn
	Duration time.Duration // of each measurement
	Only     string        // if set: only loads with this in their name
	Quick    bool          // a few small loads, to see whether all is well
	Log      io.Writer     // progress, and what the servers say
}

// Result is everything that was measured.
type Result struct {
	Machine Machine    `json:"machine"`
	Loads   []Measured `json:"loads"`
	Scaling []Scaling  `json:"scaling,omitempty"`
}

// Measured is one load's reports, a pair per round.
type Measured struct {
	Load   Load          `json:"load"`
	Hibari []load.Report `json:"hibari"`
	Naive  []load.Report `json:"naive,omitempty"` // none of a load that is only for us
}

// Run measures. The result holds complete loads only, also with an error.
func Run(ctx context.Context, c Config) (result Result, err error) {
	b, err := newBench(c)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	result = Result{Machine: machine()}
	all := make([]Measured, 0, len(Loads(c.Quick)))
	for _, l := range Loads(c.Quick) {
		if l.matches(c.Only) {
			all = append(all, Measured{Load: l})
		}
	}
	var scaling []Scaling
	for _, s := range shapes {
		// What the kernel gives is measured whenever anything is.
		if !c.Quick && b.cores.enough(2) && (s.matches(c.Only) || s.name == kernelShape.name && len(scaling) > 0) {
			scaling = append(scaling, Scaling{Name: scalingName + s.name, shape: s})
		}
	}
	if len(all)+len(scaling) == 0 {
		return result, fmt.Errorf("no load has %q in its name", c.Only)
	}
	if len(all) > 0 {
		if err := b.prepare(ctx); err != nil {
			return result, err
		}
	}
	for round := range c.Rounds {
		for i := range all {
			fmt.Fprintf(b.Log, "round %d of %d: %s\n", round+1, c.Rounds, all[i].Load.Name)
			if err := b.measure(ctx, &all[i]); err != nil {
				return result, fmt.Errorf("%s: %w", all[i].Load.Name, err)
			}
		}
		for i := range scaling {
			fmt.Fprintf(b.Log, "round %d of %d: %s\n", round+1, c.Rounds, scaling[i].Name)
			if err := b.scale(ctx, &scaling[i]); err != nil {
				return result, fmt.Errorf("%s: %w", scaling[i].Name, err)
			}
		}
	}
	result.Loads, result.Scaling = all, scaling
	return result, nil
}

// measure loads the servers once.
func (b *bench) measure(ctx context.Context, m *Measured) error {
	ours, err := b.once(ctx, b.startHibari, m.Load)
	if err != nil {
		return fmt.Errorf("hibari: %w", err)
	}
	m.Hibari = append(m.Hibari, ours)
	if m.Load.ours {
		return nil
	}
	naive, err := b.once(ctx, b.startNaive, m.Load)
	if err != nil {
		return fmt.Errorf("naive: %w", err)
	}
	m.Naive = append(m.Naive, naive)
	return nil
}

// once starts a server, loads it and stops it.
func (b *bench) once(ctx context.Context, start func(context.Context) (*server, error), l Load) (load.Report, error) {
	s, err := start(ctx)
	if err != nil {
		return load.Report{}, err
	}
	defer s.stop()
	return b.load(ctx, s, l)
}
