package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
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

// nodeDrain empties a node of channels.
func nodeDrain(ctx context.Context, args []string, io stdio) error {
	return changeNode(ctx, "node drain", args, io, func(t *tools, id string) (map[string]any, string, error) {
		hooks := webhooks.New(t.db.Pool, t.tenants, t.config.hooks(t.log))
		told, err := cluster.Drain(ctx, t.db.Pool, tenant.CommandLine(), id, hooks.Append)
		return map[string]any{"node_id": id, "state": "draining", "tenants_told": len(told)},
			fmt.Sprintf("%s takes no new channels; %d tenants were told. Watch it empty with: platform node list", id, len(told)), err
	})
}

// nodeUndrain has a node take channels again.
func nodeUndrain(ctx context.Context, args []string, io stdio) error {
	return changeNode(ctx, "node undrain", args, io, func(t *tools, id string) (map[string]any, string, error) {
		err := cluster.Undrain(ctx, t.db.Pool, tenant.CommandLine(), id)
		return map[string]any{"node_id": id, "state": "up"}, id + " takes new channels again", err
	})
}

// changeNode runs a command about one node, which is named by its id or, if only
// one of that name runs, by its name: as the first argument, or with --node.
func changeNode(ctx context.Context, name string, args []string, io stdio, change func(*tools, string) (map[string]any, string, error)) error {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	node := fs.String("node", "", "node id, or the name of the only running node that has it (required; may also be the first argument)")
	asJSON := fs.Bool("json", false, "print one JSON document")
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		args = append([]string{"-node", args[0]}, args[1:]...)
	}
	return withTools(ctx, fs, args, io, func(t *tools) error {
		id, err := t.findNode(ctx, *node)
		if err != nil {
			return err
		}
		document, words, err := change(t, id)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(io.out, document)
		}
		fmt.Fprintln(io.out, words)
		return nil
	})
}

// findNode returns the id of the node that an operator named.
func (t *tools) findNode(ctx context.Context, wanted string) (string, error) {
	if wanted == "" {
		return "", fmt.Errorf("%w: --node is missing: give a node's id or name; see platform node list", errUsage)
	}
	nodes, err := cluster.List(ctx, t.db.Pool)
	if err != nil {
		return "", err
	}
	var named []string
	for _, n := range nodes {
		if n.ID == wanted {
			return n.ID, nil
		}
		if n.Name == wanted && n.EndedAt == nil {
			named = append(named, n.ID)
		}
	}
	switch len(named) {
	case 1:
		return named[0], nil
	case 0:
		return "", fmt.Errorf("no node %q runs; see platform node list", wanted)
	}
	return "", errors.New("more than one running node has this name: use the node id")
}
