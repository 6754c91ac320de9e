package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hibari/hibari/cmd/platform/load/plane"
)

// shape is one way to fill the data plane, measured on one core and on two.
type shape struct {
	name   string
	args   []string // of platform bench plane
	target target
}

// kernelShape is the yardstick of the others: what two cores are worth here.
var kernelShape = shape{name: "the kernel alone", args: []string{"-kernel"}}

var shapes = []shape{
	{"100 channels of video 1:10", args("channels", 100, "viewers", 10), atLeast(1.8)},
	{"1 channel of video 1:1000", args("channels", 1, "viewers", 1000), atLeast(1.8)},
	kernelShape,
}

// planeTime is how long a shape is measured on each number of cores.
const planeTime = time.Second

// scalingName begins the names of all shapes in the table, for -only.
const scalingName = "two cores, "

// Scaling is what one shape gave on one core and on two, a pair per round.
type Scaling struct {
	Name string         `json:"name"`
	One  []plane.Result `json:"one_core"`
	Two  []plane.Result `json:"two_cores"`

	shape shape
}

// matches reports whether the shape is asked for.
func (s shape) matches(only string) bool { return strings.Contains(scalingName+s.name, only) }

// Factor is how many times the packets of one core two forwarded, per second of
// the wall clock.
func (s Scaling) Factor() Series { return perSecond(s.Two).Over(perSecond(s.One)) }

func perSecond(all []plane.Result) (s Series) {
	for _, r := range all {
		s = append(s, r.PerSecond)
	}
	return s
}

// Fair is the factor without the time for which others had the cores: per second
// that the process had them, or could have.
func (s Scaling) Fair() Series {
	rate := func(all []plane.Result) (rates Series) {
		for _, r := range all {
			cores := float64(r.Cores)
			rates = append(rates, r.PerSecond*cores/max(cores-r.Waited/r.Seconds, 0.1*cores))
		}
		return rates
	}
	return rate(s.Two).Over(rate(s.One))
}

// lines are the shape's part of the table.
func (s Scaling) lines() []Line {
	factor := s.Factor()
	per := func(of func(plane.Result) float64) (one, two Series) {
		for i := range min(len(s.One), len(s.Two)) {
			one, two = append(one, of(s.One[i])), append(two, of(s.Two[i]))
		}
		return one, two
	}
	line := func(figure, format string, value Series, t target) Line {
		return Line{Load: s.Name, Figure: figure, Hibari: value, Target: t.text(value, nil), format: format}
	}
	thousand := func(r plane.Result) float64 { return r.PerSecond / 1000 }
	cost := func(r plane.Result) float64 { return 1e6 / max(r.PerCPUSecond, 1e-9) }
	oneRate, twoRate := per(thousand)
	oneCost, twoCost := per(cost)
	_, used := per(func(r plane.Result) float64 { return r.CPU / r.Seconds })
	return []Line{
		line("packets of two cores ÷ of one", "%.2f", factor, s.shape.target),
		line("the same, less what others took", "%.2f", s.Fair(), target{}),
		line("1,000 packets/s, one core", "%.0f", oneRate, target{}),
		line("1,000 packets/s, two cores", "%.0f", twoRate, target{}),
		line("cores used, of two", "%.2f", used, target{}),
		line("CPU µs per packet, one core", "%.2f", oneCost, target{}),
		line("CPU µs per packet, two cores", "%.2f", twoCost, target{}),
	}
}

// scale measures once on one core and once on two.
func (b *bench) scale(ctx context.Context, into *Scaling) error {
	one, err := b.plane(ctx, into.shape, 1)
	if err != nil {
		return err
	}
	two, err := b.plane(ctx, into.shape, 2)
	if err != nil {
		return err
	}
	into.One, into.Two = append(into.One, one), append(into.Two, two)
	return nil
}

// plane runs platform bench plane on so many cores.
func (b *bench) plane(ctx context.Context, s shape, cores int) (plane.Result, error) {
	cmd := b.command(ctx, []string{"GOMAXPROCS=" + strconv.Itoa(cores)}, append([]string{"bench", "plane", "-duration", planeTime.String()}, s.args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return plane.Result{}, err
	}
	if err := b.cores.start(cmd, b.cores.first(cores)); err != nil {
		return plane.Result{}, fmt.Errorf("couldn't start: %w", err)
	}
	var result plane.Result
	decoding := json.NewDecoder(out).Decode(&result)
	if err := cmd.Wait(); err != nil {
		return plane.Result{}, err
	}
	return result, decoding
}
