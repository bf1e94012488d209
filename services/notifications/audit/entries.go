package audit

import (
	"context"
	"maps"
	"slices"

	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
)

// inboxesPerRead bounds one bulk read of inboxes.
const inboxesPerRead = 50

// Entries reports how often each event is in the inbox of its user, and for the events that are in none the status of their
// dead letter.
func (a *Audit) Entries(ctx context.Context, asked contract.EntriesRequest) (contract.Entries, error) {
	byUser := make(map[string][]int)
	for i, e := range asked.Events {
		byUser[e.UserID] = append(byUser[e.UserID], i)
	}
	states := make([]contract.EntryState, len(asked.Events))
	for part := range slices.Chunk(slices.Sorted(maps.Keys(byUser)), inboxesPerRead) {
		inboxes, err := a.inboxes.GetMany(ctx, part...)
		if err != nil {
			return contract.Entries{}, err
		}
		for user, inbox := range inboxes {
			if err := a.count(ctx, inbox, asked.Events, byUser[user], states); err != nil {
				return contract.Entries{}, err
			}
		}
	}
	if err := a.missing(ctx, asked.Events, states); err != nil {
		return contract.Entries{}, err
	}
	return contract.Entries{Entries: states}, nil
}

// count counts the entries of those events that are in the given places.
func (a *Audit) count(ctx context.Context, inbox *domain.Inbox, events []contract.EventRef, places []int, states []contract.EntryState) error {
	inHead := make(map[string]int, len(inbox.Entries))
	for _, e := range inbox.Entries {
		inHead[e.EventID]++
	}
	ids := make([]string, len(places))
	for i, place := range places {
		ids[i] = domain.NotificationID(inbox.UserID, events[place].EventID, events[place].OccurredAt)
	}
	archived, err := a.inboxes.Archived(ctx, inbox.UserID, ids)
	if err != nil {
		return err
	}
	for i, place := range places {
		states[place].Times = inHead[events[place].EventID]
		// The guard of an entry that is still to be moved does not count.
		if known, ok := archived[ids[i]]; ok && known.Segment < inbox.Segments {
			states[place].Times++
		}
	}
	return nil
}

// missing looks for the dead letters of events that are in no inbox.
func (a *Audit) missing(ctx context.Context, events []contract.EventRef, states []contract.EntryState) error {
	var ids []string
	for i, e := range events {
		if states[i].Times == 0 {
			ids = append(ids, e.EventID)
		}
	}
	statuses, err := a.letters.Statuses(ctx, ids...)
	if err != nil {
		return err
	}
	for i, e := range events {
		if states[i].Times == 0 {
			states[i].Letter = string(statuses[e.EventID])
		}
	}
	return nil
}
