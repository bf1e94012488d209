package sim

import (
	"context"
	"testing"

	dapr "github.com/dapr/go-sdk/client"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestStoresMisbehaveAsTheRealOnesDo compares the simulated stores with observations of the real ones
// (docs/brokers-and-stores.md).
func TestStoresMisbehaveAsTheRealOnesDo(t *testing.T) {
	for _, kind := range []Kind{SQLite, Postgres, Redis} {
		t.Run(kind.String(), func(t *testing.T) {
			s := newStore(kind)
			must(t, s.set("a", []byte("1"), ""))
			wantCode(t, "creating over a record", s.set("a", []byte("2"), ""), map[Kind]codes.Code{SQLite: codes.Aborted, Postgres: codes.Internal, Redis: codes.Aborted}[kind])
			wantCode(t, "writing with a stale ETag", s.set("a", []byte("2"), "stale"), codes.Aborted)
			first := s.records["a"].etag
			must(t, s.set("a", []byte("2"), first))
			if string(s.records["a"].value) != "2" || s.records["a"].etag == first {
				t.Fatalf("after a write the record is %q with ETag %s; it was %s", s.records["a"].value, s.records["a"].etag, first)
			}
			s.down = true
			wantCode(t, "writing to a store that is away", s.set("a", []byte("3"), s.records["a"].etag), map[Kind]codes.Code{SQLite: codes.Internal, Postgres: codes.Internal, Redis: codes.Aborted}[kind])
		})
	}
}

// TestRedisForgetsItsPast shows why no service deletes a document: after a deletion the ETags are the same as before,
// and a stale writer wins.
func TestRedisForgetsItsPast(t *testing.T) {
	for kind, stale := range map[Kind]bool{SQLite: false, Postgres: false, Redis: true} {
		s := newStore(kind)
		must(t, s.set("a", []byte("old"), ""))
		etag := s.records["a"].etag
		must(t, s.remove("a", etag))
		must(t, s.set("a", []byte("new"), ""))
		if won := s.set("a", []byte("stale"), etag) == nil; won != stale {
			t.Errorf("%s: a writer from before the deletion won: %t; want %t", kind, won, stale)
		}
	}
}

// TestRedisHalfCommits shows why no service uses transactions.
func TestRedisHalfCommits(t *testing.T) {
	for kind, half := range map[Kind]bool{SQLite: false, Postgres: false, Redis: true} {
		s := newStore(kind)
		must(t, s.set("a", []byte("1"), ""))
		err := s.transact([]*dapr.StateOperation{
			{Type: dapr.StateOperationTypeUpsert, Item: &dapr.SetStateItem{Key: "a", Value: []byte("2"), Etag: &dapr.ETag{Value: "stale"}}},
			{Type: dapr.StateOperationTypeUpsert, Item: &dapr.SetStateItem{Key: "b", Value: []byte("2")}},
		})
		if err == nil {
			t.Errorf("%s: a transaction with a stale ETag succeeded", kind)
		}
		if _, committed := s.records["b"]; committed != half {
			t.Errorf("%s: the other half of a failed transaction is committed: %t; want %t", kind, committed, half)
		}
	}
}

// TestNoProgramDeletesOrTransacts: the simulated sidecar can do neither, so a program that tried would end its run.
func TestNoProgramDeletesOrTransacts(t *testing.T) {
	for name, use := range map[string]func(dapr.Client) error{
		"DeleteState":             func(c dapr.Client) error { return c.DeleteState(context.Background(), "store", "a", nil) },
		"ExecuteStateTransaction": func(c dapr.Client) error { return c.ExecuteStateTransaction(context.Background(), "store", nil, nil) },
		"SaveState":               func(c dapr.Client) error { return c.SaveState(context.Background(), "store", "a", nil, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was answered", name)
				}
			}()
			_ = use(sdk{})
		}()
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%s: %v; want %s", what, err, want)
	}
}
