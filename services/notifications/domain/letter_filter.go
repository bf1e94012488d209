package domain

import (
	"strings"
	"time"
)

// LetterFilter chooses dead letters: those that fit all of its members. An empty member fits all.
type LetterFilter struct {
	Status LetterStatus `json:"status,omitempty"`
	// Consumer, Topic and Type are compared as a whole.
	Consumer string `json:"consumer,omitempty"`
	Topic    string `json:"topic,omitempty"`
	Type     string `json:"type,omitempty"`
	// Reason is a part of why the message died or of why the latest attempt failed, whatever the case of its letters.
	Reason string `json:"reason,omitempty"`
	// Since and Until bound when the letter was first seen; Until itself is out.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Matches reports whether the filter chooses a letter.
func (f LetterFilter) Matches(d *DeadLetter) bool {
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
