package sim

import (
	"bytes"
	"slices"
)

// Documents are the documents in the store of one service. A test may change them as no program would, but only in
// Plan.Spoil.
type Documents struct{ store *store }

// Keys lists what is stored, in order.
func (d Documents) Keys() []string { return d.store.keys() }

// Get returns a document, nil if there is none.
func (d Documents) Get(key string) []byte { return bytes.Clone(d.store.records[key].value) }

// Put stores a document without a check of the ETag.
func (d Documents) Put(key string, value []byte) { d.store.put(key, slices.Clone(value)) }

// Remove deletes a document.
func (d Documents) Remove(key string) { delete(d.store.records, key) }
