package sim

import (
	"bytes"
	"slices"
)

// Documents are what the store of one service holds, for a test that changes it as no program would. They may be used
// in Plan.Spoil only.
type Documents struct{ store *store }

// Keys lists what is stored, in order.
func (d Documents) Keys() []string { return d.store.keys() }

// Get returns a document, nil if there is none.
func (d Documents) Get(key string) []byte { return bytes.Clone(d.store.records[key].value) }

// Put stores a document, whatever is there.
func (d Documents) Put(key string, value []byte) { d.store.put(key, slices.Clone(value)) }

// Remove forgets a document.
func (d Documents) Remove(key string) { delete(d.store.records, key) }
