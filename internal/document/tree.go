package document

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Fanout is how many references one level of a Tree collects before they move into a node of the next level.
const Fanout = 8

// ErrArchive says that an archive document is missing or cannot be read: stored data is lost.
var ErrArchive = errors.New("an archive document is damaged")

// Summary describes what is below a reference, for example a range of times. A search skips a reference whose summary
// excludes what it looks for. The pointer type must be an encoding.TextUnmarshaler.
type Summary[S any] interface {
	encoding.TextMarshaler
	// Merge returns a summary that covers both.
	Merge(S) S
}

// Tree is the index of an aggregate's archive: immutable leaf documents of old entries, in the order in which they were
// archived. It is stored in the aggregate, and grows only at its newest end:
//
//	levels[0]   leaf 9, leaf 10                       fewer than Fanout references in each level
//	levels[1]   node of the leaves 0 to 7 ──▶ leaf 0, leaf 1, … leaf 7
//	levels[2]   (a node of eight nodes, from leaf 64 on)
//
// When a level is full, its references move into a node, which is an archive document too. So the aggregate keeps fewer
// than Fanout references a level, and finding a leaf takes one read a level: five for 4,096 leaves.
type Tree[S Summary[S]] struct {
	// Leaves counts the leaves.
	Leaves int64 `json:"leaves,omitempty"`
	// Levels hold the references, oldest first: to leaves in level 0, to nodes in the levels above.
	Levels [][]Ref[S] `json:"levels,omitempty"`
}

// Ref points to a leaf or a node. Its stored form is a text: First, a space, and the summary.
type Ref[S Summary[S]] struct {
	// First is the number of its first leaf, counted from 0.
	First   int64
	Summary S
}

// TreeNode is a document of references, oldest first.
type TreeNode[S Summary[S]] struct {
	Refs []Ref[S] `json:"refs"`
}

// MarshalText writes the reference.
func (r Ref[S]) MarshalText() ([]byte, error) {
	summary, err := r.Summary.MarshalText()
	return append(strconv.AppendInt(nil, r.First, 10), append([]byte(" "), summary...)...), err
}

// UnmarshalText reads the reference.
func (r *Ref[S]) UnmarshalText(data []byte) error {
	first, summary, _ := bytes.Cut(data, []byte(" "))
	var err error
	if r.First, err = strconv.ParseInt(string(first), 10, 64); err != nil {
		return fmt.Errorf("malformed archive reference %q: %w", data, err)
	}
	if err := any(&r.Summary).(encoding.TextUnmarshaler).UnmarshalText(summary); err != nil {
		return fmt.Errorf("malformed archive reference %q: %w", data, err)
	}
	return nil
}

// TreeKey is the key of a leaf (level 0) or a node in the tree under prefix; first is the number of its first leaf.
func TreeKey(prefix string, level int, first int64) string {
	return fmt.Sprintf("%s/%d-%d", prefix, level, first)
}

// LeavesBelow is how many leaves are below a reference of a level.
func LeavesBelow(level int) int64 {
	leaves := int64(1)
	for range level {
		leaves *= Fanout
	}
	return leaves
}

// Add archives a leaf, and a node for each level that is full. root is the root of the aggregate, see Root.Archive.
func (t *Tree[S]) Add(root *Root, prefix string, leaf any, summary S) {
	ref := Ref[S]{First: t.Leaves, Summary: summary}
	root.Archive(TreeKey(prefix, 0, ref.First), leaf)
	t.Leaves++
	for level := 0; ; level++ {
		if level == len(t.Levels) {
			t.Levels = append(t.Levels, nil)
		}
		t.Levels[level] = append(t.Levels[level], ref)
		if len(t.Levels[level]) < Fanout {
			return
		}
		node := TreeNode[S]{Refs: t.Levels[level]}
		t.Levels[level] = nil
		ref = node.Ref()
		root.Archive(TreeKey(prefix, level+1, ref.First), node)
	}
}

// Ref is the reference to the node.
func (n TreeNode[S]) Ref() Ref[S] {
	r := n.Refs[0]
	for _, child := range n.Refs[1:] {
		r.Summary = r.Summary.Merge(child.Summary)
	}
	return r
}

// Grown reports whether leaves that within accepts may have been added since the tree had the given number of leaves.
func (t *Tree[S]) Grown(leaves int64, within func(S) bool) bool {
	for level, refs := range t.Levels {
		for _, r := range refs {
			if r.First+LeavesBelow(level) > leaves && within(r.Summary) {
				return true
			}
		}
	}
	return false
}

// Check returns what is wrong with the tree itself, or "": the references have to cover all leaves.
func (t *Tree[S]) Check() string {
	leaves := int64(0)
	for level := len(t.Levels) - 1; level >= 0; level-- {
		for _, r := range t.Levels[level] {
			if r.First != leaves {
				return fmt.Sprintf("the archive lacks the leaves %d to %d", leaves, r.First-1)
			}
			leaves += LeavesBelow(level)
		}
	}
	if leaves != t.Leaves {
		return fmt.Sprintf("the archive counts %d leaves and leads to %d", t.Leaves, leaves)
	}
	return ""
}

// Walk reads the archive of an aggregate.
type Walk[S Summary[S]] struct {
	Store Store
	// Prefix is the one that Add got. Root is the root of the aggregate, read together with the tree.
	Prefix string
	Root   *Root
	// NewestFirst means that the newest leaf comes first. Otherwise the oldest one does.
	NewestFirst bool
	// Within reports whether to read what is below a reference of a level. Nil accepts all.
	Within func(r Ref[S], level int) bool
	// Node, if not nil, is called with each node that is read.
	Node func(r Ref[S], level int, node TreeNode[S])
}

// Leaves visits the leaves of a tree that the walk accepts, until visit returns false. One call of the store reads all
// accepted documents below one node, or of one level of the aggregate. An error is ErrArchive or one of the store.
func Leaves[L any, S Summary[S]](ctx context.Context, t *Tree[S], w Walk[S], visit func(r Ref[S], leaf L) bool) error {
	levels := make([]int, len(t.Levels))
	for i := range levels {
		levels[i] = len(levels) - 1 - i
	}
	if w.NewestFirst {
		slices.Reverse(levels)
	}
	for _, level := range levels {
		if more, err := below(ctx, w, t.Levels[level], level, visit); err != nil || !more {
			return err
		}
	}
	return nil
}

// below visits the leaves below references of one level, and reports whether to continue.
func below[L any, S Summary[S]](ctx context.Context, w Walk[S], refs []Ref[S], level int, visit func(Ref[S], L) bool) (bool, error) {
	var accepted []Ref[S]
	for _, r := range refs {
		if w.Within == nil || w.Within(r, level) {
			accepted = append(accepted, r)
		}
	}
	if w.NewestFirst {
		slices.Reverse(accepted)
	}
	values, err := w.read(ctx, accepted, level)
	if err != nil {
		return false, err
	}
	for i, r := range accepted {
		more := false
		if level == 0 {
			var leaf L
			if err := w.decode(values[i], r, level, &leaf); err != nil {
				return false, err
			}
			more = visit(r, leaf)
		} else {
			var node TreeNode[S]
			if err := w.decode(values[i], r, level, &node); err != nil {
				return false, err
			}
			if w.Node != nil {
				w.Node(r, level, node)
			}
			if more, err = below(ctx, w, node.Refs, level-1, visit); err != nil {
				return false, err
			}
		}
		if !more {
			return false, nil
		}
	}
	return true, nil
}

// read reads documents in the order of their references. An archived document is in the aggregate itself until the next
// write.
func (w Walk[S]) read(ctx context.Context, refs []Ref[S], level int) ([]json.RawMessage, error) {
	values := make([]json.RawMessage, len(refs))
	missing := make(map[string]int)
	var keys []string
	for i, r := range refs {
		key := TreeKey(w.Prefix, level, r.First)
		if n := slices.IndexFunc(w.Root.Sealed, func(s Sealed) bool { return s.Key == key }); n >= 0 {
			values[i] = w.Root.Sealed[n].Value
			continue
		}
		keys, missing[key] = append(keys, key), i
	}
	if len(keys) == 0 {
		return values, nil
	}
	records, err := w.Store.Get(ctx, keys...)
	if err != nil {
		return nil, fmt.Errorf("reading the archive documents from %s on: %w", keys[0], err)
	}
	for key, i := range missing {
		record, found := records[key]
		if !found {
			return nil, fmt.Errorf("%w: %s is missing", ErrArchive, key)
		}
		values[i] = record.Value
	}
	return values, nil
}

func (w Walk[S]) decode(value json.RawMessage, r Ref[S], level int, into any) error {
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrArchive, TreeKey(w.Prefix, level, r.First), err)
	}
	return nil
}
