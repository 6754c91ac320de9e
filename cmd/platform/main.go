// Command platform is Hibari: one process that serves signalling, media, the
// HTTP APIs and the console, and the operator's commands beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // a small image has no zone files, and tenants have time zones
)

// version is what clients are told in the offer; Sora's SDKs show it.
const version = "hibari 0.1.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// command is one word (or two) of the command line.
type command struct {
	name  string
	about string
	run   func(ctx context.Context, args []string, io stdio) error
}

// commands returns every command, in the order help lists them.
func commands() []command {
	return []command{
		{"serve", "HTTP, signalling, media, workers and console in one process (the default)", serve},
		{"migrate", "apply the database migrations, then exit", migrate},
		{"tenant create", "make a tenant with an owner, an API key and a signing key", tenantCreate},
		{"tenant list", "list the tenants", tenantList},
		{"licence quote", "print what a licence costs a year", licenceQuote},
		{"tenant suspend", "refuse a tenant's new connections", tenantSuspend},
		{"tenant resume", "let a suspended tenant's clients in again", tenantResume},
		{"licence set", "set how many connections a tenant may have", licenceSet},
		{"licence show", "print a tenant's licences", licenceShow},
		{"plan list", "list the plans", planList},
		{"plan show", "print a plan's prices, or those of a tenant", planShow},
		{"plan set", "give a tenant a plan", planSet},
		{"plan price", "give a plan new prices, or make one", planPrice},
		{"operator create", "make an operator login", operatorCreate},
		{"token", "print an access token", tokenCreate},
		{"node list", "list the nodes and their leases", nodeList},
		{"node drain", "have a node take no new channels, to empty it", nodeDrain},
		{"node undrain", "have a drained node take new channels again", nodeUndrain},
		{"bench", "load a running server with publishers and viewers", bench},
		{"bench suite", "measure Hibari against the naive yardstick and print one table", benchSuite},
		{"bench naive", "serve the benchmark's yardstick, a forwarder as pion's examples show it", benchNaive},
		{"bench cores", "measure the data plane on one core and on two", benchCores},
		{"bench soak", "have clients come and go for a while, and look for what is left", benchSoak},
		{"bench plane", "measure the data plane alone, in one process", benchPlane},
		{"doctor", "check the settings, the database and the ports", doctor},
	}
}

// errUsage marks an error whose text already says how to call the command.
var errUsage = errors.New("usage")

// run picks the command, runs it and returns the exit status: 0 for success,
// 1 for failure, 2 for a wrong call.
func run(ctx context.Context, args []string, io stdio) int {
	if len(args) > 0 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help") {
		usage(io.out)
		return 0
	}
	cmd, rest := find(args)
	if cmd == nil {
		fmt.Fprintf(io.err, "platform: unknown command %q; see platform help\n", args[0])
		return 2
	}
	err := cmd.run(ctx, rest, io)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(io.err, "platform %s: %v\n", cmd.name, err)
		return 2
	default:
		fmt.Fprintf(io.err, "platform: %v\n", err)
		return 1
	}
}

// find returns the command that args begin with and what follows it; a call
// without a command word is serve.
func find(args []string) (*command, []string) {
	all := commands()
	if len(args) == 0 || args[0][:min(1, len(args[0]))] == "-" {
		return &all[0], args
	}
	for n := min(2, len(args)); n > 0; n-- {
		name := args[0]
		if n == 2 {
			name += " " + args[1]
		}
		for i := range all {
			if all[i].name == name {
				return &all[i], args[n:]
			}
		}
	}
	return nil, nil
}

func usage(w io.Writer) {
	fmt.Fprint(w, "Hibari: live audio and video for your customers' apps.\n\nUsage: platform [command] [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-16s %s\n", c.name, c.about)
	}
	fmt.Fprint(w, "\nEvery command prints its flags with -h. Settings come from the environment (HIBARI_…);\nserve takes each of them as a flag too.\n")
}
