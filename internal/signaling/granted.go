package signaling

import "github.com/hibari/hibari/internal/tenant"

// granted lays over what the client asked for what its tenant decided: that wins.
func (c *Connect) granted(g tenant.Grant) {
	c.Simulcast.granted(g)
	c.Spotlight.granted(g)
	c.Spotlight.imply(&c.Simulcast)
	c.BundleID = firstOf(g.BundleID, c.BundleID)
	c.Metadata.Authz = g.SignalingNotifyMetadata
	c.Metadata.Ext = g.SignalingNotifyMetadataExt
	c.NoNotify = g.SignalingNotify != nil && !*g.SignalingNotify
	if g.ForwardingFilters != nil {
		c.Filters = g.ForwardingFilters
	}
}
