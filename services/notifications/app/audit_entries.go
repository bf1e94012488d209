package app

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"caravan/internal/event"
	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
)

// inboxesPerRead bounds one bulk read of inboxes.
const inboxesPerRead = 50

// Entries tells of each event how often it is in the inbox of its user, and of those that are not whether they are among
// the dead letters.
func (n *Notifications) Entries(ctx context.Context, asked contract.EntriesRequest) (contract.Entries, error) {
	byUser := make(map[string][]int)
	for i, e := range asked.Events {
		byUser[e.UserID] = append(byUser[e.UserID], i)
	}
	states := make([]contract.EntryState, len(asked.Events))
	for part := range slices.Chunk(slices.Sorted(maps.Keys(byUser)), inboxesPerRead) {
		inboxes, err := n.inboxes.GetMany(ctx, part...)
		if err != nil {
			return contract.Entries{}, fmt.Errorf("reading inboxes: %w", err)
		}
		for user, inbox := range inboxes {
			if err := n.count(ctx, inbox, asked.Events, byUser[user], states); err != nil {
				return contract.Entries{}, err
			}
		}
	}
	if err := n.missing(ctx, asked.Events, states); err != nil {
		return contract.Entries{}, err
	}
	return contract.Entries{Entries: states}, nil
}

// count counts the entries of those events that are in the given places.
func (n *Notifications) count(ctx context.Context, inbox *domain.Inbox, events []contract.EventRef, places []int, states []contract.EntryState) error {
	inHead := make(map[string]int, len(inbox.Entries))
	for _, e := range inbox.Entries {
		inHead[e.EventID]++
	}
	ids := make([]string, len(places))
	for i, place := range places {
		ids[i] = domain.NotificationID(inbox.UserID, events[place].EventID, events[place].OccurredAt)
	}
	archived, err := n.archived(ctx, inbox.UserID, ids)
	if err != nil {
		return err
	}
	for i, place := range places {
		states[place].Times = inHead[events[place].EventID]
		// The guard of an entry that is still to be moved does not count.
		if a, ok := archived[ids[i]]; ok && a.Segment < inbox.Segments {
			states[place].Times++
		}
	}
	return nil
}

// missing looks for the dead letters of events that are in no inbox.
func (n *Notifications) missing(ctx context.Context, events []contract.EventRef, states []contract.EntryState) error {
	letters := make(map[string]int)
	for i, e := range events {
		if states[i].Times == 0 {
			letters[domain.LetterID(event.Event{ID: e.EventID})] = i
		}
	}
	for part := range slices.Chunk(slices.Sorted(maps.Keys(letters)), lettersPerRead) {
		found, err := n.letters.GetMany(ctx, part...)
		if err != nil {
			return fmt.Errorf("reading dead letters: %w", err)
		}
		for id, d := range found {
			states[letters[id]].Letter = string(d.Status)
		}
	}
	return nil
}
