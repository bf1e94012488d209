package contract_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"caravan/services/users/contract"
)

// fakeUsers answers for every user but "nobody". The first call waits until it may go on.
type fakeUsers struct {
	mu    sync.Mutex
	calls [][]string
	first chan struct{}
	err   error
}

func (f *fakeUsers) Invoke(ctx context.Context, app, path string, in, out any) error {
	if app != contract.App || path != contract.PathContacts {
		return errors.New("not found")
	}
	asked := in.(contract.ContactsRequest).UserIDs
	f.mu.Lock()
	f.calls = append(f.calls, asked)
	n := len(f.calls)
	f.mu.Unlock()
	if n <= 2 { // two calls may be under way
		select {
		case <-f.first:
		case <-ctx.Done():
		}
	}
	answer := out.(*[]contract.Contact)
	for _, userID := range asked {
		if userID != "nobody" {
			*answer = append(*answer, contract.Contact{UserID: userID, Email: userID + "@example.com", Name: userID})
		}
	}
	return f.err
}

func TestQuestionsShareCalls(t *testing.T) {
	service := &fakeUsers{first: make(chan struct{})}
	contacts := contract.NewContacts(service)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var all sync.WaitGroup
	asked := make(chan struct{}, 150)
	for i := range 150 {
		all.Go(func() {
			asked <- struct{}{}
			userID := fmt.Sprint("u", i)
			if got, known, err := contacts.Contact(ctx, userID); err != nil || !known || got.Email != userID+"@example.com" {
				t.Errorf("%s is %+v, %v, %v", userID, got, known, err)
			}
		})
	}
	for range 150 {
		<-asked
	}
	close(service.first)
	all.Wait()
	most := 0
	for _, call := range service.calls {
		most = max(most, len(call))
	}
	if most > contract.MaxContacts {
		t.Errorf("a call asks for %d users", most)
	}
	if _, known, err := contacts.Contact(ctx, "nobody"); known || err != nil {
		t.Errorf("nobody is known: %v, %v", known, err)
	}
	service.err = errors.New("away")
	if _, _, err := contacts.Contact(ctx, "u1"); !errors.Is(err, service.err) {
		t.Errorf("the error is %v", err)
	}
}
