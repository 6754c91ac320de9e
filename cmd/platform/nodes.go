package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
)

// migrate brings the database to the newest schema.
func migrate(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("migrate", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print one JSON document")
	c, err := readConfig(fs, args, environment, io)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: max(c.logLevel, slog.LevelWarn)}))
	db, err := openDatabase(ctx, c, log)
	if err != nil {
		return err
	}
	var version int64
	err = db.QueryRow(ctx, "select max(version_id) from goose_db_version where is_applied").Scan(&version)
	if closing := db.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	if *asJSON {
		return printJSON(io.out, map[string]any{"schema_version": version})
	}
	fmt.Fprintf(io.out, "the database is at schema version %d\n", version)
	return nil
}

// nodeRow is one line of node list.
type nodeRow struct {
	NodeID      string     `json:"node_id"`
	Name        string     `json:"name"`
	State       string     `json:"state"`
	StartedAt   time.Time  `json:"started_at"`
	LeaseUntil  time.Time  `json:"lease_until"`
	EndedAt     *time.Time `json:"ended_at"`
	Connections int        `json:"connections"`
}

// nodeList prints the nodes, newest first.
func nodeList(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("node list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print one JSON document")
	return withTools(ctx, fs, args, io, func(t *tools) error {
		rows, _ := t.db.Query(ctx, `
			select node_id, name, state, started_at, lease_until, ended_at,
			       (select count(*) from live_connection l where l.node_id = n.node_id)::int as connections
			from node n order by started_at desc limit 100`)
		nodes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[nodeRow])
		if err != nil {
			return fmt.Errorf("couldn't list the nodes: %w", err)
		}
		if *asJSON {
			return printJSON(io.out, map[string]any{"items": nodes})
		}
		w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NODE\tNAME\tSTATE\tSTARTED\tLEASE UNTIL\tCONNECTIONS")
		for _, n := range nodes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", n.NodeID, n.Name, n.State,
				n.StartedAt.Format(time.RFC3339), n.LeaseUntil.Format(time.RFC3339), n.Connections)
		}
		return w.Flush()
	})
}
