package main

import (
	"context"
	"flag"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/hibari/hibari/internal/cluster"
)

// nodeList prints the nodes, newest first.
func nodeList(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("node list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		nodes, err := cluster.List(ctx, t.db.Pool)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(io.out, map[string]any{"items": nodes})
		}
		w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NODE\tNAME\tSTATE\tSTARTED\tLEASE UNTIL\tCONNECTIONS\tURL")
		for _, n := range nodes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", n.ID, n.Name, n.State,
				n.StartedAt.Format(time.RFC3339), n.LeaseUntil.Format(time.RFC3339), n.Connections, n.PublicURL)
		}
		return w.Flush()
	})
}
