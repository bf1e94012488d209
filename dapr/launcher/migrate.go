package launcher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/manifest"
	"caravan/dapr/launcher/process"
)

// MigrateOptions say which documents go where.
type MigrateOptions struct {
	Root string // the repository; found from the current directory when ""
	Dir  string // the stack's state; <Root>/.dapr when ""
	Bin  string // as in Options
	From string // one of Stores()
	To   string // another of Stores()
	// Replace makes the target the same as the source even where it has documents
	// that the source has not, or others under the same key.
	Replace bool
	Log     io.Writer // what happens; nil: nowhere
	// Progress is told how far each app is; may be nil.
	Progress func(MigrateProgress)
}

// MigrateProgress is how far the documents of one app are.
type MigrateProgress struct {
	Phase    string // "compare", "copy" or "verify"
	App      string
	Done, Of int // documents
}

// Migration is what a migration came to.
type Migration struct {
	Apps []Migrated
	// Already says that nothing had to be done: an earlier migration had copied
	// these very documents, and the target has been used since.
	Already bool
}

// Migrated are the documents of one app.
type Migrated struct {
	App       string
	Documents int    // in the source, and after a migration in the target
	Copied    int    // of those, written by this run
	Digest    string // SHA-256 of all keys and contents
}

// ErrNothingToMigrate says that the source holds no document of any app.
var ErrNothingToMigrate = errors.New("there are no documents to migrate")

// OccupiedError says that the target holds documents which a migration would
// overwrite or leave beside its own.
type OccupiedError struct {
	Target             string
	Different, Foreign int
	Examples           []string // a few of their keys
}

// Error tells how many and which.
func (e *OccupiedError) Error() string {
	return fmt.Sprintf("%s has %d documents that the source has not, and %d with other contents than there (as %s)",
		e.Target, e.Foreign, e.Different, strings.Join(e.Examples, ", "))
}

// Migrate copies all documents of a stopped stack from one store to another, and
// compares them afterwards: every key and every content. The source is only
// read. Nothing is overwritten, so a migration that ended early is gone on with
// by another; a target that holds other documents is an *OccupiedError. While
// the stack runs, the error is ErrRunning, and meanwhile no stack can start.
func Migrate(ctx context.Context, options MigrateOptions) (Migration, error) {
	if options.From == options.To {
		return Migration{}, fmt.Errorf("the documents are in %s already", options.To)
	}
	s, err := newStack(Options{Root: options.Root, Dir: options.Dir, Bin: options.Bin, Log: options.Log})
	if err != nil {
		return Migration{}, err
	}
	logs := filepath.Join(s.dir, "logs", "migrate")
	// A database server that will not run as root has to get in.
	for _, folder := range []string{filepath.Join(s.dir, "data"), logs} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return Migration{}, fmt.Errorf("preparing the stack's folder: %w", err)
		}
	}
	release, err := claim(filepath.Join(s.dir, "lock"))
	if err != nil {
		return Migration{}, err
	}
	defer release()
	defer s.ports.Release()
	m := &migration{Stack: s, options: options}
	if m.program, err = buildStoreCopy(ctx, s.root, s.options.Bin, s.options.Log); err != nil {
		return Migration{}, err
	}
	s.supervisor = process.NewSupervisor(logs, nil, nil)
	defer m.stop()
	if err := m.open(ctx); err != nil {
		return Migration{}, err
	}
	return m.run(ctx)
}

// migration is one run of Migrate.
type migration struct {
	*Stack   // its folder, plan and servers; no programs
	options  MigrateOptions
	program  string
	from, to infra.Server
}

// open starts what servers there are to start.
func (m *migration) open(ctx context.Context) (err error) {
	place := infra.Place{Dir: m.dir, Port: m.ports.Take, Getenv: os.Getenv}
	if m.from, err = infra.Store(m.options.From, place); err != nil {
		return err
	}
	if m.to, err = infra.Store(m.options.To, place); err != nil {
		return err
	}
	for _, server := range []infra.Server{m.from, m.to} {
		for i := range server.Processes {
			server.Processes[i].Name += "-" + server.Kind // there may be two
		}
		if err := m.startServer(ctx, server); err != nil {
			return err
		}
	}
	return nil
}

func (m *migration) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	closeAll(ctx, m.all())
	m.supervisor.Close()
}

func (m *migration) run(ctx context.Context) (Migration, error) {
	before, err := m.each(ctx, "compare", storeCopyJob{})
	if err != nil {
		return Migration{}, err
	}
	total := sum(before)
	switch {
	case total.From == 0:
		return Migration{}, fmt.Errorf("%w: %s holds none", ErrNothingToMigrate, m.options.From)
	case total.Different+total.Foreign == 0 || m.options.Replace:
	case total.Missing == 0 && m.done(before):
		return Migration{Apps: migrated(before, nil), Already: true}, nil
	default:
		return Migration{}, &OccupiedError{Target: m.options.To, Different: total.Different, Foreign: total.Foreign, Examples: total.Examples}
	}
	if _, err := m.each(ctx, "copy", storeCopyJob{Copy: true, Replace: m.options.Replace}); err != nil {
		return Migration{}, err
	}
	after, err := m.each(ctx, "verify", storeCopyJob{})
	if err != nil {
		return Migration{}, err
	}
	for i, is := range after {
		if is.Same != is.From || is.To != is.From || is.Digest != before[i].Digest {
			return Migration{}, fmt.Errorf("the documents of %s are not the same after the copy: %d in %s, %d in %s, %d of them alike",
				is.app, is.From, m.options.From, is.To, m.options.To, is.Same)
		}
	}
	return Migration{Apps: migrated(after, before)}, m.record(after)
}

// comparison is what the copying program found out about one app.
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

func migrated(now, before []comparison) []Migrated {
	var apps []Migrated
	for i, one := range now {
		app := Migrated{App: one.app, Documents: one.From, Digest: one.Digest}
		if before != nil {
			app.Copied = before[i].Missing + before[i].Different
		}
		apps = append(apps, app)
	}
	return apps
}

// recordFile remembers that a migration came to its end, and of what. A stack
// that runs on the target from then on makes it differ from the source.
func (m *migration) recordFile() string {
	return filepath.Join(m.dir, "data", fmt.Sprintf("migrated-%s-%s.json", m.options.From, m.options.To))
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

// done reports whether these very documents were migrated before.
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

// each gives a job to the copying program for every app that keeps documents.
func (m *migration) each(ctx context.Context, phase string, job storeCopyJob) ([]comparison, error) {
	var all []comparison
	for _, a := range m.plan.Apps {
		from, err := m.component(m.from, a.ID)
		if err != nil {
			return nil, err
		}
		to, err := m.component(m.to, a.ID)
		if err != nil {
			return nil, err
		}
		if from == nil || to == nil {
			continue
		}
		job.App, job.From, job.To = a.ID, *from, *to
		one, err := m.copy(ctx, job, func(done, of int) {
			if m.options.Progress != nil {
				m.options.Progress(MigrateProgress{Phase: phase, App: a.ID, Done: done, Of: of})
			}
		})
		if err != nil {
			return nil, err
		}
		one.app = a.ID
		all = append(all, one)
	}
	return all, nil
}

// component is the store component of an app, nil if it has none.
func (m *migration) component(server infra.Server, app string) (*storeCopyComponent, error) {
	documents, err := manifest.ReadSet(filepath.Join(m.plan.Components, server.Set), app)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(documents, func(d manifest.Document) bool { return d.Component != nil && d.For(app) })
	if at < 0 {
		return nil, nil
	}
	found := override(documents[at:at+1], server.Settings(app))[0].Component
	settings := map[string]string{}
	for _, item := range found.Spec.Metadata {
		if item.EnvRef != "" || item.SecretKeyRef != nil {
			return nil, fmt.Errorf("%s: %s is not given literally", documents[at].At(), item.Name)
		}
		settings[item.Name] = item.Value
	}
	return &storeCopyComponent{Type: found.Spec.Type, Settings: settings}, nil
}
