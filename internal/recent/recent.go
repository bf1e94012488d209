// Package recent remembers the most recent entries of a set of unknown size in bounded memory.
package recent

import "sync"

// Map remembers values by key, at least for the size most recently written keys and at most for twice as many. It is safe for
// concurrent use.
//
// It has two generations. When the current one is full it becomes the older one, and the older one is forgotten.
type Map[V any] struct {
	mu             sync.Mutex
	current, older map[string]V
	size           int
}

// New makes a Map.
func New[V any](size int) *Map[V] {
	return &Map[V]{current: make(map[string]V), older: make(map[string]V), size: size}
}

// Get returns the value of a key and whether the key is known.
func (m *Map[V]) Get(key string) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(key)
}

// Update writes change(value) for a key; change gets the zero value for a key that is not known.
func (m *Map[V]) Update(key string, change func(value V) V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, _ := m.get(key)
	if len(m.current) >= m.size {
		m.older, m.current = m.current, make(map[string]V)
	}
	m.current[key] = change(value)
}

func (m *Map[V]) get(key string) (V, bool) {
	if value, ok := m.current[key]; ok {
		return value, true
	}
	value, ok := m.older[key]
	return value, ok
}
