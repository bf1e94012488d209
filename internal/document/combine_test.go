package document

import (
	"context"
	"testing"

	"caravan/internal/clock"
	"caravan/internal/id"
)

// mapStore is a fake store for one goroutine.
type mapStore map[string]Record

func (m mapStore) Get(_ context.Context, keys ...string) (map[string]Record, error) {
	found := make(map[string]Record)
	for _, k := range keys {
		if r, ok := m[k]; ok {
			found[k] = r
		}
	}
	return found, nil
}

func (m mapStore) Put(_ context.Context, key string, value []byte, etag string) error {
	if m[key].ETag != etag {
		return ErrUnknown
	}
	m[key] = Record{Value: value, ETag: etag + "x"}
	return nil
}

type created struct {
	Root
	Times int `json:"times"`
}

func TestCommandsThatShareTheFirstWriteSeeTheDocumentExist(t *testing.T) {
	repo := NewRepository[created](mapStore{}, Options{Clock: clock.System{}, IDs: id.Random{}})
	commands := make([]*command[*created], 20)
	for i := range commands {
		commands[i] = &command[*created]{ctx: t.Context(), done: make(chan struct{}), decide: func(d *created) error {
			if d.Exists() {
				return ErrUnchanged
			}
			d.Times++
			return nil
		}}
	}
	repo.commit("a", commands)
	for _, c := range commands {
		if c.err != nil || c.doc.Times != 1 || c.doc.Revision != 1 {
			t.Fatalf("err %v, document %+v", c.err, c.doc)
		}
	}
}
