package harness

import (
	"net/url"

	"caravan/dapr/launcher"
)

// Site is where a system is reached and as whom it is audited.
type Site struct {
	Gateways      []*url.URL
	Staff         launcher.User
	Broker, Store string // as reports name them
	Where         string // of a system that runs elsewhere, whose broker and store are not known
}

// Visit returns a system that runs elsewhere. It can be used and its books compared, but it is not broken: only the
// campaigns that VisitingCampaigns returns run on it, without faults.
func Visit(site Site) *System { return &System{site: site} }

// VisitingCampaigns are those whose load makes sense without faults.
func VisitingCampaigns() []string { return []string{storm().name, keys().name} }
