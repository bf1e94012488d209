// Package bloom remembers any number of keys in a fixed amount of memory. It never forgets one that it was given, and
// rarely takes another one for it (Bloom, Space/time trade-offs in hash coding with allowable errors, 1970).
package bloom

import "hash/fnv"

const (
	// probes is the number of bits that each key sets.
	probes = 8
	// pageOrder says how many bits a page has: all bits of a key are in one, so that few keys take little memory.
	pageOrder = 15
)

// Filter is a Bloom filter. It is not safe for concurrent use.
type Filter struct {
	pages [][]uint64 // nil until a key falls into it
	order int        // of a page
}

// New makes a Filter of 1<<order bits; order is 6 to 40. With 16 bits a key one in two thousand
// other keys is a false positive.
func New(order int) *Filter {
	page := min(order, pageOrder)
	return &Filter{pages: make([][]uint64, 1<<(order-page)), order: page}
}

// Add remembers a key and reports whether it was there before, as Has would.
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

// Has reports whether a key was added. It may be wrong about one that was not.
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

// page tells in which page the bits of a key are, by bits of its hash that do not choose among those.
func (f *Filter) page(hash uint64) uint64 { return hash >> pageOrder & uint64(len(f.pages)-1) }

// hash gives the first probe and the distance of the next ones (Kirsch and Mitzenmacher, Less hashing, same
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
