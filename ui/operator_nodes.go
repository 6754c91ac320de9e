package ui

import (
	"errors"
	"net/http"

	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
)

func (c *Console) operatorNodes(w http.ResponseWriter, r *http.Request, v *visit) error {
	nodes, err := c.Node.Nodes(r.Context(), v.operator.Authority)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, operatorNodesPage(v, nodes))
}

// operatorAskDrain asks once whether to empty a node.
func (c *Console) operatorAskDrain(w http.ResponseWriter, r *http.Request, v *visit) error {
	running, err := c.runningNodes(r.Context(), v)
	if err != nil {
		return err
	}
	for _, n := range running {
		if n.ID != param(r, "node") {
			continue
		}
		q := question{
			Title:   "Drain this node?",
			Text:    "It starts no new channels, and its clients go to another node. Calls in progress go on, and their channels take clients until they end.",
			Facts:   [][2]string{{"Node", n.Name + " " + n.ID}, {"Connections", whole(n.Connections)}},
			Confirm: "Drain",
			Action:  "/operator/nodes/" + n.ID + "/drain",
			Back:    "/operator/nodes",
		}
		if len(running) == 1 {
			q.Text = "No other node runs: clients of new channels will be refused. Calls in progress go on."
		}
		return v.ask(w, r, q)
	}
	return tenant.ErrNotFound
}

func (c *Console) operatorDrain(w http.ResponseWriter, r *http.Request, v *visit) error {
	told, err := c.Node.Drain(r.Context(), v.operator.Authority, param(r, "node"), c.Hooks.Append)
	if err != nil {
		return endedIsGone(err)
	}
	for _, id := range told {
		c.Hooks.Wake(id)
	}
	return v.finish(w, r, "/operator/nodes", "drained")
}

func (c *Console) operatorUndrain(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Node.Undrain(r.Context(), v.operator.Authority, param(r, "node")); err != nil {
		return endedIsGone(err)
	}
	return v.finish(w, r, "/operator/nodes", "undrained")
}

// endedIsGone tells of a node that ended meanwhile as of one that is not there.
func endedIsGone(err error) error {
	if errors.Is(err, cluster.ErrEnded) {
		return tenant.ErrNotFound
	}
	return err
}

// nodeBadge is the colour of a node's state.
func nodeBadge(v *visit, n cluster.Info) (kind, text string) {
	switch {
	case n.State == "lost":
		return "bad", "lost"
	case n.EndedAt != nil:
		return "", n.State
	case late(v, n):
		return "bad", n.State + ", late"
	case n.State == "draining":
		return "warn", "draining"
	}
	return "good", "up"
}
