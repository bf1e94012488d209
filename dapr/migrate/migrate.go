// Package migrate copies all documents of a stopped stack from one store to another.
package migrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"caravan/dapr/launcher"
)

// Options describe which documents are copied to which store.
type Options struct {
	Root string // the repository; found from the current directory when ""
	Dir  string // the stack's state; <Root>/.dapr when ""
	Bin  string // as in launcher.Options
	From string // one of launcher.Stores()
	To   string // another one
	// Replace makes the target equal to the source, even if it has documents that are missing or different in the
	// source.
	Replace bool
	Log     io.Writer // gets the progress; may be nil
	// Progress is called with the progress of each app; may be nil.
	Progress func(Progress)
}

// Progress is the progress of one app.
type Progress struct {
	Phase    string // "compare", "copy" or "verify"
	App      string
	Done, Of int // documents
}

// Result is the outcome of a migration.
type Result struct {
	Apps []App
	// Already means that an earlier migration copied exactly these documents, and the target has been used since.
	Already bool
}

// App describes the documents of one app.
type App struct {
	App       string
	Documents int    // in the source; after a migration, also in the target
	Copied    int    // how many of them this run wrote
	Digest    string // SHA-256 of all keys and contents
}

// ErrNothing is returned when the source has no documents.
var ErrNothing = errors.New("there are no documents to migrate")

// OccupiedError is returned when the target has documents that a migration would overwrite, or mix with its own.
type OccupiedError struct {
	Target             string
	Different, Foreign int
	Examples           []string // a few of their keys
}

// Error returns how many and some of their keys.
func (e *OccupiedError) Error() string {
	return fmt.Sprintf("%s has %d documents that the source has not, and %d with other contents than there (as %s)",
		e.Target, e.Foreign, e.Different, strings.Join(e.Examples, ", "))
}

// Run copies all documents of a stopped stack from one store to another, and then compares every key and every content.
// It only reads the source. It overwrites nothing, so another migration can continue an interrupted one. If the target
// has other documents, the error is an *OccupiedError. While the stack runs, it is launcher.ErrRunning. No stack can
// start during a migration.
func Run(ctx context.Context, options Options) (Result, error) {
	if options.From == options.To {
		return Result{}, fmt.Errorf("the documents are in %s already", options.To)
	}
	stores, err := launcher.OpenStores(launcher.Options{Root: options.Root, Dir: options.Dir, Bin: options.Bin, Log: options.Log})
	if err != nil {
		return Result{}, err
	}
	defer stores.Close()
	m := &migration{StoreServers: stores, options: options}
	if m.program, err = stores.BuildSidecarProgram(ctx, "storecopy"); err != nil {
		return Result{}, err
	}
	if err := stores.Start(ctx, options.From, options.To); err != nil {
		return Result{}, err
	}
	return m.run(ctx)
}

// migration is one run.
type migration struct {
	*launcher.StoreServers
	options Options
	program string
}

func (m *migration) run(ctx context.Context) (Result, error) {
	before, err := m.each(ctx, "compare", job{})
	if err != nil {
		return Result{}, err
	}
	total := sum(before)
	switch {
	case total.From == 0:
		return Result{}, fmt.Errorf("%w: %s holds none", ErrNothing, m.options.From)
	case total.Different+total.Foreign == 0 || m.options.Replace:
	case total.Missing == 0 && m.done(before):
		return Result{Apps: migrated(before, nil), Already: true}, nil
	default:
		return Result{}, &OccupiedError{Target: m.options.To, Different: total.Different, Foreign: total.Foreign, Examples: total.Examples}
	}
	if _, err := m.each(ctx, "copy", job{Copy: true, Replace: m.options.Replace}); err != nil {
		return Result{}, err
	}
	after, err := m.each(ctx, "verify", job{})
	if err != nil {
		return Result{}, err
	}
	for i, is := range after {
		if is.Same != is.From || is.To != is.From || is.Digest != before[i].Digest {
			return Result{}, fmt.Errorf("the documents of %s are not the same after the copy: %d in %s, %d in %s, %d of them alike",
				is.app, is.From, m.options.From, is.To, m.options.To, is.Same)
		}
	}
	return Result{Apps: migrated(after, before)}, m.record(after)
}

// comparison is the result of the copying program for one app.
type comparison struct {
	app                                         string
	From, To, Same, Missing, Different, Foreign int
	Digest                                      string
	Examples                                    []string
}

func sum(all []comparison) comparison {
	var total comparison
	for _, one := range all {
		total.From += one.From
		total.Missing += one.Missing
		total.Different += one.Different
		total.Foreign += one.Foreign
		total.Examples = append(total.Examples, one.Examples...)
	}
	return total
}

func migrated(now, before []comparison) []App {
	var apps []App
	for i, one := range now {
		app := App{App: one.app, Documents: one.From, Digest: one.Digest}
		if before != nil {
			app.Copied = before[i].Missing + before[i].Different
		}
		apps = append(apps, app)
	}
	return apps
}

// recordFile is the file that records a finished migration and its documents. Afterwards a stack that uses the target
// makes it differ from the source.
func (m *migration) recordFile() string {
	return filepath.Join(m.Dir(), "data", fmt.Sprintf("migrated-%s-%s.json", m.options.From, m.options.To))
}

func (m *migration) record(all []comparison) error {
	raw, err := json.Marshal(digests(all))
	if err != nil {
		return fmt.Errorf("recording the migration: %w", err)
	}
	if err := os.WriteFile(m.recordFile(), raw, 0o600); err != nil {
		return fmt.Errorf("recording the migration: %w", err)
	}
	return nil
}

// done reports whether exactly these documents were migrated before.
func (m *migration) done(now []comparison) bool {
	raw, err := os.ReadFile(m.recordFile())
	if err != nil {
		return false
	}
	want, err := json.Marshal(digests(now))
	return err == nil && bytes.Equal(raw, want)
}

func digests(all []comparison) map[string]string {
	digests := map[string]string{}
	for _, one := range all {
		digests[one.app] = one.Digest
	}
	return digests
}

// each runs the copying program with a job for every app that has documents.
func (m *migration) each(ctx context.Context, phase string, j job) ([]comparison, error) {
	var all []comparison
	for _, app := range m.Apps() {
		from, err := m.Component(m.options.From, app)
		if err != nil {
			return nil, err
		}
		to, err := m.Component(m.options.To, app)
		if err != nil {
			return nil, err
		}
		if from == nil || to == nil {
			continue
		}
		j.App, j.From, j.To = app, *from, *to
		one, err := m.copy(ctx, j, func(done, of int) {
			if m.options.Progress != nil {
				m.options.Progress(Progress{Phase: phase, App: app, Done: done, Of: of})
			}
		})
		if err != nil {
			return nil, err
		}
		one.app = app
		all = append(all, one)
	}
	return all, nil
}
