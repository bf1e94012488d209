package deadletter

import (
	"strings"
	"time"
)

// Filter selects dead letters that match all of its members. An empty member matches all.
type Filter struct {
	Status Status `json:"status,omitempty"`
	// Consumer, Topic and Type are compared as a whole.
	Consumer string `json:"consumer,omitempty"`
	Topic    string `json:"topic,omitempty"`
	Type     string `json:"type,omitempty"`
	// Reason is a part of the letter's reason or of its latest failure. Upper and lower case are equal.
	Reason string `json:"reason,omitempty"`
	// Since and Until limit the time at which the letter was first seen; Until itself is excluded.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Matches reports whether the filter selects a letter.
func (f Filter) Matches(d *Letter) bool {
	return fits(f.Status, d.Status) && fits(f.Consumer, d.Consumer) && fits(f.Topic, d.Topic) && fits(f.Type, d.Type) &&
		(contains(d.Reason, f.Reason) || contains(d.LastFailure, f.Reason)) &&
		(f.Since.IsZero() || !d.FirstSeen.Before(f.Since)) && (f.Until.IsZero() || d.FirstSeen.Before(f.Until))
}

func fits[T comparable](want, is T) bool {
	var any T
	return want == any || want == is
}

func contains(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}
