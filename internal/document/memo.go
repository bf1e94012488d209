package document

import (
	"context"
	"maps"
)

// Memo is a Store that reads each document once and keeps it. It is for short work on documents that never change, such
// as archives. It reads a document again that it did not find before. It is not safe for concurrent use.
type Memo struct {
	Store
	kept map[string]Record
}

// NewMemo makes a Memo of a store.
func NewMemo(store Store) *Memo { return &Memo{Store: store, kept: make(map[string]Record)} }

// Get implements Store.
func (m *Memo) Get(ctx context.Context, keys ...string) (map[string]Record, error) {
	found := make(map[string]Record, len(keys))
	var missing []string
	for _, k := range keys {
		if r, ok := m.kept[k]; ok {
			found[k] = r
		} else {
			missing = append(missing, k)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	read, err := m.Store.Get(ctx, missing...)
	if err != nil {
		return nil, err
	}
	maps.Copy(m.kept, read)
	maps.Copy(found, read)
	return found, nil
}
