package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
)

// migrate brings the database to the newest schema.
func migrate(ctx context.Context, args []string, io stdio) error {
	fs := flag.NewFlagSet("migrate", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print one JSON document")
	c, err := readConfig(fs, args, os.Getenv, io)
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
