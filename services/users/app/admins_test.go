package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"caravan/internal/document"
	"caravan/internal/document/documenttest"
	"caravan/services/users/app"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

var errCrashed = errors.New("the process has crashed")

// turns lets several processes reach the store one call at a time, in an order that a seed decides.
type turns struct {
	mu      sync.Mutex
	waiting []waiter
	dead    map[int]bool // by process
}

type waiter struct {
	process int
	lives   chan bool // whether the process lives on
}

// turn waits for the turn of a process and reports whether it lives on.
func (s *turns) turn(process int) bool {
	s.mu.Lock()
	if s.dead[process] {
		s.mu.Unlock()
		return false
	}
	mine := waiter{process, make(chan bool, 1)}
	s.waiting = append(s.waiting, mine)
	s.mu.Unlock()
	return <-mine.lives
}

// next gives one process its turn, which ends it if crash is set, and reports whether any waited. What waits is in an
// order of its own.
func (s *turns) next(random *rand.Rand, crash bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return false
	}
	slices.SortStableFunc(s.waiting, func(a, b waiter) int { return a.process - b.process })
	chosen := random.IntN(len(s.waiting))
	one := s.waiting[chosen]
	s.waiting = slices.Delete(s.waiting, chosen, chosen+1)
	s.dead[one.process] = s.dead[one.process] || crash
	one.lives <- !s.dead[one.process]
	return true
}

// turnStore is the store as one process reaches it.
type turnStore struct {
	document.Store
	turns   *turns
	process int
}

func (s turnStore) Get(ctx context.Context, keys ...string) (map[string]document.Record, error) {
	if !s.turns.turn(s.process) {
		<-ctx.Done()
		return nil, errCrashed
	}
	return s.Store.Get(ctx, keys...)
}

func (s turnStore) Put(ctx context.Context, key string, value []byte, etag string) error {
	if !s.turns.turn(s.process) {
		<-ctx.Done()
		return errCrashed
	}
	return s.Store.Put(ctx, key, value, etag)
}

// admins returns the ids of the accounts that are admins, as they are stored.
func (w *world) admins(t *testing.T) (ids []string) {
	t.Helper()
	for _, key := range w.store.Keys() {
		if !strings.HasPrefix(key, "user/") {
			continue
		}
		var user domain.User
		w.read(t, key, &user)
		if user.HasRole(contract.RoleAdmin) {
			ids = append(ids, user.ID)
		}
	}
	return ids
}

// However admins dismiss and appoint each other at the same moment, and wherever a process crashes meanwhile, at every
// moment somebody is an admin, and at the end somebody can appoint and dismiss.
func TestThereAlwaysIsAnAdmin(t *testing.T) {
	seeds := uint64(400)
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { adminsAtOnce(t, seed) })
		if t.Failed() {
			t.Fatalf("it failed with seed %d", seed)
		}
	}
}

func adminsAtOnce(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 9))
	w := newWorld()
	w.register(t, "nobody@example.com")
	var callers []app.Caller
	for i := range 2 + random.IntN(3) {
		email := fmt.Sprintf("admin%d@example.com", i)
		user := w.register(t, email)
		documenttest.Edit(t, w.store, "user/"+user.ID, func(u *domain.User) { u.Roles = []string{contract.RoleAdmin} }) // as from before there were decisions
		_, caller := w.logIn(t, email)
		callers = append(callers, caller)
	}
	s := &turns{dead: make(map[int]bool)}
	crashes := random.IntN(3)
	var all sync.WaitGroup
	for i := range len(callers) + random.IntN(3) {
		caller := callers[i%len(callers)]
		asks := make([]app.RolesChange, 1+random.IntN(3))
		for n := range asks {
			asks[n] = app.RolesChange{Caller: caller, UserID: callers[random.IntN(len(callers))].UserID, Roles: []string{contract.RoleCustomer}}
			if random.IntN(3) == 0 {
				asks[n].Roles = []string{contract.RoleAdmin, contract.RoleStaff}[:1+random.IntN(2)]
			}
		}
		accounts := w.replicaOver(turnStore{w.store, s, i})
		all.Go(func() {
			for _, ask := range asks {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				_, err := accounts.ChangeRoles.Do(ctx, ask)
				cancel()
				var passing interface{ Temporary() bool } // too many conflicts, in an order as bad as this one
				if err != nil && !errors.As(err, &passing) && !errors.Is(err, app.ErrNotAllowed) && !errors.Is(err, domain.ErrOwnAdminRole) && !errors.Is(err, errCrashed) {
					t.Errorf("changing roles: %v", err)
				}
			}
		})
	}
	for {
		synctest.Wait()
		crash := crashes > 0 && random.IntN(20) == 0
		if crash {
			crashes--
		}
		if !s.next(random, crash) {
			break
		}
		synctest.Wait()
		if len(w.admins(t)) == 0 && !t.Failed() {
			t.Errorf("nobody is an admin, with seed %d", seed)
		}
	}
	all.Wait()
	w.mustHaveAnAdminWhoDecides(t, callers)
}

// mustHaveAnAdminWhoDecides has an admin appoint everybody, and then dismiss everybody else.
func (w *world) mustHaveAnAdminWhoDecides(t *testing.T, callers []app.Caller) {
	t.Helper()
	admins := w.admins(t)
	after := w.replica()
	for _, caller := range callers {
		if !slices.Contains(admins, caller.UserID) {
			continue
		}
		change := func(roles ...string) (err error) {
			for _, other := range callers {
				if other != caller {
					_, failed := after.ChangeRoles.Do(t.Context(), app.RolesChange{Caller: caller, UserID: other.UserID, Roles: roles})
					err = errors.Join(err, failed)
				}
			}
			return err
		}
		if err := change(contract.RoleAdmin); err != nil {
			t.Errorf("an admin can not appoint: %v", err)
		}
		err := change(contract.RoleCustomer)
		if errors.Is(err, app.ErrNotAllowed) {
			continue // their dismissal was decided, and crashed before it reached their account
		}
		if left := w.admins(t); err != nil || !slices.Equal(left, []string{caller.UserID}) {
			t.Errorf("an admin can not dismiss: %v are left, %v", left, err)
		}
		return
	}
	t.Error("no admin can dismiss others")
}

// A dismissal that crashed between the decision and the account is carried out by the next try.
func TestADismissalThatCrashedIsRepeated(t *testing.T) {
	w := newWorld()
	w.timeout = 50 * time.Millisecond
	w.process = w.replica()
	root := w.admin(t)
	other := w.register(t, "other@example.com")
	if _, err := w.ChangeRoles.Do(t.Context(), app.RolesChange{Caller: root, UserID: other.ID, Roles: []string{contract.RoleAdmin}}); err != nil {
		t.Fatal(err)
	}
	_, caller := w.logIn(t, "other@example.com")
	w.store.BeforePut(func(key string, _ []byte) error {
		if key == "user/"+other.ID {
			return errCrashed
		}
		return nil
	})
	dismiss := app.RolesChange{Caller: root, UserID: other.ID, Roles: []string{contract.RoleCustomer}}
	if _, err := w.ChangeRoles.Do(t.Context(), dismiss); err == nil {
		t.Fatal("it did not crash")
	}
	w.store.BeforePut(nil)
	w.process = w.replica()
	if _, err := w.ChangeRoles.Do(t.Context(), app.RolesChange{Caller: caller, UserID: root.UserID, Roles: []string{contract.RoleCustomer}}); !errors.Is(err, app.ErrNotAllowed) {
		t.Errorf("who is dismissed dismisses the last admin: %v", err)
	}
	if user, err := w.ChangeRoles.Do(t.Context(), dismiss); err != nil || user.HasRole(contract.RoleAdmin) {
		t.Errorf("the next try: %+v, %v", user, err)
	}
}

// A replica from before there were decisions drops the term of an account whenever it writes it. The admin can go on.
func TestAnOlderReplicaForgetsTheTerm(t *testing.T) {
	w := newWorld()
	root := w.admin(t)
	for i := range 3 {
		other := w.register(t, fmt.Sprintf("other%d@example.com", i))
		for _, role := range []string{contract.RoleAdmin, contract.RoleCustomer} {
			if _, err := w.ChangeRoles.Do(t.Context(), app.RolesChange{Caller: root, UserID: other.ID, Roles: []string{role}}); err != nil {
				t.Fatalf("%s: %v", role, err)
			}
			if _, err := w.ChangeRoles.Do(t.Context(), app.RolesChange{Caller: root, UserID: root.UserID, Roles: []string{contract.RoleAdmin}}); err != nil {
				t.Fatal(err)
			}
			documenttest.Edit(t, w.store, "user/"+root.UserID, func(u *map[string]json.RawMessage) { delete(*u, "adminTerm") })
			w.process = w.replica()
		}
	}
}
