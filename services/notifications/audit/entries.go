package audit

import (
	"context"
	"maps"
	"slices"

	"caravan/internal/audit"
	"caravan/services/notifications/contract"
	"caravan/services/notifications/domain"
)

// inboxesPerRead bounds one bulk read of inboxes.
const inboxesPerRead = 50

// Entries reports how often each event is in the inbox of its user, and for the events that are in none the status of their
// dead letter. It also checks that each event has its messages.
func (a *Audit) Entries(ctx context.Context, asked contract.EntriesRequest) (contract.Entries, error) {
	if asked.Begin {
		return a.begin(ctx, asked.More)
	}
	states := make([]contract.EntryState, len(asked.Events))
	named := places{byUser: make(map[string][]int)}
	for i, e := range asked.Events {
		if e.UserID != "" {
			named.add(e.UserID, e)
			named.of = append(named.of, i)
		}
	}
	times, err := a.count(ctx, named)
	if err != nil {
		return contract.Entries{}, err
	}
	for n, i := range named.of {
		states[i].Times = times[n]
	}
	if err := a.countAudiences(ctx, asked.Events, states); err != nil {
		return contract.Entries{}, err
	}
	if err := a.missing(ctx, asked.Events, states); err != nil {
		return contract.Entries{}, err
	}
	answer := contract.Entries{Entries: states, Results: audit.NewPage().Results}
	if a.messages != nil {
		if err := a.sent(ctx, asked.Events, &answer.Results); err != nil {
			return contract.Entries{}, err
		}
	}
	return answer, nil
}

// begin begins an audit: it reads a part of the index of messages, from the beginning unless there is more to read.
func (a *Audit) begin(ctx context.Context, more bool) (contract.Entries, error) {
	answer := contract.Entries{Entries: []contract.EntryState{}, Results: audit.NewPage().Results}
	if a.messages == nil {
		return answer, nil
	}
	ready, err := a.messages.read(ctx, !more)
	answer.Types, answer.More = a.messages.Outbox.Types(), !ready
	return answer, err
}

// places are pairs of an event and a user.
type places struct {
	events []contract.EventRef
	byUser map[string][]int // indexes in events
	of     []int            // for each pair the index of what it was made for
}

func (p *places) add(userID string, e contract.EventRef) {
	p.byUser[userID] = append(p.byUser[userID], len(p.events))
	p.events = append(p.events, e)
}

// countAudiences counts the entries of events that name no user. Each of those whom the event is for must have one.
func (a *Audit) countAudiences(ctx context.Context, events []contract.EventRef, states []contract.EntryState) error {
	var ids []string
	for _, e := range events {
		if e.UserID == "" {
			ids = append(ids, e.EventID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	decided, err := a.inboxes.Decided(ctx, ids...)
	if err != nil {
		return err
	}
	all := places{byUser: make(map[string][]int)}
	for i, e := range events {
		userIDs, known := decided[e.EventID]
		if e.UserID != "" || !known {
			continue
		}
		states[i].Times = 1 // also if there is nobody whom it is for
		for _, userID := range userIDs {
			all.add(userID, e)
			all.of = append(all.of, i)
		}
	}
	times, err := a.count(ctx, all)
	if err != nil {
		return err
	}
	for n, i := range all.of {
		if times[n] != 1 && states[i].Times == 1 {
			states[i].Times = times[n]
		}
	}
	return nil
}

// count counts the entries of pairs.
func (a *Audit) count(ctx context.Context, p places) ([]int, error) {
	times := make([]int, len(p.events))
	for part := range slices.Chunk(slices.Sorted(maps.Keys(p.byUser)), inboxesPerRead) {
		inboxes, err := a.inboxes.GetMany(ctx, part...)
		if err != nil {
			return nil, err
		}
		ids := make(map[string][]string, len(inboxes))
		for user := range inboxes {
			for _, place := range p.byUser[user] {
				e := p.events[place]
				ids[user] = append(ids[user], domain.NotificationID(user, e.EventID, e.OccurredAt))
			}
		}
		archived, err := a.inboxes.ArchivedOf(ctx, ids)
		if err != nil {
			return nil, err
		}
		for user, inbox := range inboxes {
			countOf(inbox, archived, ids[user], p.events, p.byUser[user], times)
		}
	}
	return times, nil
}

// countOf counts the entries of those events that are in the given places. ids are their notifications, archived says where the
// archive has these.
func countOf(inbox *domain.Inbox, archived map[string]domain.Archived, ids []string, events []contract.EventRef, places, times []int) {
	inHead := make(map[string]int, len(inbox.Entries))
	for _, e := range inbox.Entries {
		inHead[e.EventID]++
	}
	for i, place := range places {
		times[place] = inHead[events[place].EventID]
		// The guard of an entry that is still to be moved does not count.
		if known, ok := archived[ids[i]]; ok && known.Segment < inbox.Segments {
			times[place]++
		}
	}
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
