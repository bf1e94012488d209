// Package bloom remembers any number of keys in a fixed amount of memory. It always recognizes an added key, and has
// few false positives (Bloom, Space/time trade-offs in hash coding with allowable errors, 1970).
package bloom

import "hash/fnv"

const (
	// probes is the number of bits that each key sets.
	probes = 8
	// pageOrder gives the number of bits of a page. All bits of a key are in one page, so few keys need little memory.
	pageOrder = 15
)

// Filter is a Bloom filter. It is not safe for concurrent use.
type Filter struct {
	pages [][]uint64 // nil until a key belongs to it
	order int        // of a page
}

// New makes a Filter of 1<<order bits; order is 6 to 40. With 16 bits a key, one in two thousand other keys is a false
// positive.
func New(order int) *Filter {
	page := min(order, pageOrder)
	return &Filter{pages: make([][]uint64, 1<<(order-page)), order: page}
}

// Add adds a key and reports whether it was there before, as Has would.
func (f *Filter) Add(key string) (had bool) {
	had = true
	h, step := f.hash(key)
	page := &f.pages[f.page(h)]
	if *page == nil {
		*page = make([]uint64, 1<<(f.order-6))
	}
	for range probes {
		word, bit := &(*page)[h>>6&uint64(len(*page)-1)], uint64(1)<<(h&63)
		had = had && *word&bit != 0
		*word |= bit
		h += step
	}
	return had
}

// Has reports whether a key was added. It may report true for one that was not.
func (f *Filter) Has(key string) bool {
	h, step := f.hash(key)
	page := f.pages[f.page(h)]
	if page == nil {
		return false
	}
	for range probes {
		if page[h>>6&uint64(len(page)-1)]&(1<<(h&63)) == 0 {
			return false
		}
		h += step
	}
	return true
}

// page returns the page of a key's bits. It uses bits of the hash that do not select the bits within the page.
func (f *Filter) page(hash uint64) uint64 { return hash >> pageOrder & uint64(len(f.pages)-1) }

// hash returns the first probe and the distance of the next ones (Kirsch and Mitzenmacher, Less hashing, same
// performance, 2006).
func (f *Filter) hash(key string) (first, step uint64) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key)) // a hash never fails
	first = mix(h.Sum64())
	return first, mix(first) | 1
}

// mix spreads the bits of x (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
