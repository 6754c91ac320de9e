package e2e

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

// TestDrainedNode empties one of two nodes from the command line: its live channel
// goes on taking clients, new ones are sent to the other node, the tenant is told,
// and load balancers see it.
func TestDrainedNode(t *testing.T) {
	first, second := twoNodes(t)
	a := first.tenant("Lark")
	token := first.token(a, "hello", "recvonly")
	mustDial2015(t, first, "downstream", "hello", token)
	var list struct {
		Items []struct {
			NodeID      string `json:"node_id"`
			Connections int    `json:"connections"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(first.run("", "node", "list", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	node := ""
	for _, n := range list.Items {
		if n.Connections == 1 {
			node = n.NodeID
		}
	}
	second.run("", "node", "drain", node)
	ready := func(s *server) int {
		response, err := http.Get(s.url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	eventually(t, "the drained node says so", func() bool { return ready(first) == http.StatusServiceUnavailable })
	if status := ready(second); status != http.StatusOK {
		t.Errorf("the other node answers %d", status)
	}
	mustDial2015(t, first, "downstream", "hello", token)
	fresh := first.token(a, "fresh", "recvonly")
	if _, err := dial2015(t, first, "downstream", "fresh", fresh); err == nil || err.Error() != "draining: this node takes no new channels; connect to "+second.url {
		t.Errorf("a client of a new channel was told %v", err)
	}
	if location := first.whepRedirect(t, "fresh", fresh); location != second.url+"/whep/fresh" {
		t.Errorf("WHEP was sent to %q", location)
	}
	eventually(t, "the second node knows the new tenant", func() bool {
		_, err := dial2015(t, second, "downstream", "fresh", fresh)
		return err == nil
	})
	told := second.events(a, "?after=0", func(e tenant.Event) bool { return e.Type == tenant.NodeDraining })
	var data struct {
		NodeID      string `json:"node_id"`
		Connections int    `json:"connections"`
	}
	if err := json.Unmarshal(told[len(told)-1].Data, &data); err != nil || data.NodeID != node || data.Connections != 1 {
		t.Errorf("the tenant was told %s, %v", told[len(told)-1].Data, err)
	}
	first.run("", "node", "undrain", "--node", node)
	eventually(t, "the node is ready again", func() bool { return ready(first) == http.StatusOK })
	mustDial2015(t, first, "downstream", "again", first.token(a, "again", "recvonly"))
}
