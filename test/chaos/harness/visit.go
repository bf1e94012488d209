package harness

import (
	"net/url"

	"caravan/dapr/launcher"
)

// Site is the address of a system and the user for its audit.
type Site struct {
	Gateways      []*url.URL
	Staff         launcher.User
	Broker, Store string // as reports name them
	Where         string // of a system elsewhere, whose broker and store are not known
}

// Visit returns a system that runs elsewhere. It can be used and checked, but not broken. Only the campaigns of
// VisitingCampaigns run on it, without faults.
func Visit(site Site) *System { return &System{site: site} }

// VisitingCampaigns are those whose load is useful without faults.
func VisitingCampaigns() []string { return []string{storm().name, keys().name} }
