package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeStore is a store that forgets what it accepted last when it is killed, as the real one does.
type fakeStore struct {
	connection int64
	safe       []stored // on the disk
	recent     []stored // accepted, with the time
	pending    []stored // of an insert whose answer was lost; it takes effect before the next query
	now        func() time.Time

	fails     bool // refuses everything
	losesOne  bool // takes the next insert and does not answer
	inserts   int
	largest   int
	questions int
}

type stored struct {
	file, text string
	offset     int64
	at         time.Time
}

var errDown = errors.New("connection refused")

func (f *fakeStore) Insert(_ context.Context, lines []byte) (int64, error) {
	f.settle()
	if f.fails {
		return f.connection, errDown
	}
	f.inserts++
	f.largest = max(f.largest, len(lines))
	var rows []stored
	for line := range bytes.Lines(lines) {
		var row struct {
			File, Line string
			Message    string `json:"_msg"`
			Offset     int64
		}
		if err := json.Unmarshal(line, &row); err != nil {
			return f.connection, fmt.Errorf("the batch has %q: %w", line, err)
		}
		text := row.Line
		if text == "" {
			text = row.Message
		}
		rows = append(rows, stored{file: row.File, text: text, offset: row.Offset, at: f.now()})
	}
	if f.losesOne {
		f.losesOne, f.pending = false, rows
		return f.connection, context.DeadlineExceeded
	}
	f.recent = append(f.recent, rows...)
	return f.connection, nil
}

func (f *fakeStore) Health(context.Context) (int64, error) {
	if f.fails {
		return f.connection, errDown
	}
	return f.connection, nil
}

func (f *fakeStore) Flush(ctx context.Context) error {
	_, err := f.Health(ctx)
	return err
}

func (f *fakeStore) Offsets(_ context.Context, file string, from int64) (map[int64]bool, error) {
	f.settle()
	if f.fails {
		return nil, errDown
	}
	f.questions++
	found := map[int64]bool{}
	for _, row := range f.all() {
		if row.file == file && row.offset >= from {
			found[row.offset] = true
		}
	}
	return found, nil
}

// settle moves what is old enough to the disk.
func (f *fakeStore) settle() {
	f.recent = append(f.recent, f.pending...)
	f.pending = nil
	for len(f.recent) > 0 && f.now().Sub(f.recent[0].at) > 11*time.Second {
		f.safe = append(f.safe, f.recent[0])
		f.recent = f.recent[1:]
	}
}

func (f *fakeStore) all() []stored { return slices.Concat(f.safe, f.recent) }

// kill ends the store and starts it again.
func (f *fakeStore) kill() {
	f.settle()
	f.recent, f.pending = nil, nil
	f.connection++
}

// scene is a stack's folder with its collector.
type scene struct {
	t       *testing.T
	dir     string
	clock   time.Time
	store   *fakeStore
	shipper *shipper
	folders []folder
	want    []string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, dir: t.TempDir(), clock: time.Now()}
	s.store = &fakeStore{connection: 1, now: func() time.Time { return s.clock }}
	for _, folder := range []string{"logs", "logs.previous"} {
		if err := os.MkdirAll(filepath.Join(s.dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.folders = []folder{{path: filepath.Join(s.dir, "logs")}, {path: filepath.Join(s.dir, "logs.previous"), ended: true, knownOnly: true}}
	s.restart()
	return s
}

// restart makes another collector, as after a kill.
func (s *scene) restart() {
	s.t.Helper()
	positions, err := readPositions(filepath.Join(s.dir, "positions.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.shipper != nil {
		for _, source := range s.shipper.sources {
			_ = source.file.Close()
		}
	}
	s.shipper = newShipper(s.store, positions, slog.New(slog.NewJSONHandler(io.Discard, nil)), new(counts))
	s.shipper.now = func() time.Time { return s.clock }
	s.shipper.folders = s.folders
}

// write appends lines to a log. They are expected in the store.
func (s *scene) write(name string, lines ...string) {
	s.t.Helper()
	s.append(name, strings.Join(lines, "\n")+"\n")
	s.want = append(s.want, lines...)
}

func (s *scene) append(name, text string) {
	s.t.Helper()
	file, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = file.WriteString(text)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, "logs", name) }

// passes lets the collector work for a while.
func (s *scene) passes(n int) {
	for range n {
		s.clock = s.clock.Add(interval)
		for s.shipper.pass(s.t.Context()) {
		}
	}
}

// check compares the store with what was written: every line once.
func (s *scene) check() {
	s.t.Helper()
	var got []string
	for _, row := range s.store.all() {
		got = append(got, row.text)
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(s.want))
	if slices.Equal(got, want) {
		return
	}
	count := map[string]int{}
	for _, line := range got {
		count[line]++
	}
	for _, line := range want {
		count[line]--
	}
	for line, n := range count {
		if n != 0 {
			s.t.Errorf("%+d times too often: %.80q", n, line)
		}
	}
	s.t.Fatalf("the store has %d lines, written were %d", len(got), len(want))
}

func TestLinesArrive(t *testing.T) {
	s := newScene(t)
	s.write("orders.log", `{"time":"`+s.clock.Format(time.RFC3339Nano)+`","level":"INFO","msg":"one"}`, "text", "")
	s.want = s.want[:2] // an empty line is none
	s.append("orders.log", "half")
	s.passes(3)
	s.check()
	s.append("orders.log", " and half\n")
	s.want = append(s.want, "half and half")
	s.passes(1)
	s.check()
	if status := s.shipper.counts.status(); status.Lines != 3 || status.BytesBehind != 0 {
		t.Errorf("%+v", status)
	}
	// What is stored for good is remembered, so another collector asks for nothing and sends nothing.
	s.passes(safeAfter + 6)
	inserts, questions := s.store.inserts, s.store.questions
	s.restart()
	s.passes(2)
	s.check()
	if s.store.inserts != inserts || s.store.questions != questions {
		t.Errorf("%d inserts, %d questions", s.store.inserts-inserts, s.store.questions-questions)
	}
}

func TestRotatedAndDeletedFilesAreReadToTheirEnd(t *testing.T) {
	s := newScene(t)
	s.write("orders.log", "first", "second")
	s.passes(1)
	s.write("orders.log", "third") // not seen before the rotation
	if err := os.Rename(s.path("orders.log"), s.path("orders.log.1")); err != nil {
		t.Fatal(err)
	}
	s.write("orders.log", "first") // the same beginning as the other file
	s.passes(1)
	s.check()
	s.write("orders.log", "last")
	if err := os.Remove(s.path("orders.log")); err != nil {
		t.Fatal(err)
	}
	s.passes(safeAfter + 5)
	s.check()
	if n := len(s.shipper.sources); n != 1 {
		t.Errorf("%d files are open, want that of orders.log.1", n)
	}
	// The logs of the last run are moved when a stack starts. Their rest is read, but not files that were never read.
	s.append("orders.log.1", "the end")
	s.want = append(s.want, "the end")
	if err := errors.Join(os.Remove(filepath.Join(s.dir, "logs.previous")), os.Rename(filepath.Join(s.dir, "logs"), filepath.Join(s.dir, "logs.previous")),
		os.Mkdir(filepath.Join(s.dir, "logs"), 0o700), os.WriteFile(filepath.Join(s.dir, "logs.previous", "old.log"), []byte("unread\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.write("orders.log", "another run")
	s.passes(2)
	s.check()
}

func TestAStoreThatIsAwayIsAskedLessAndLessAndCostsNoMemory(t *testing.T) {
	s := newScene(t)
	s.write("orders.log", "one")
	s.store.fails = true
	line := strings.Repeat("x", 1000)
	for range 50 {
		for range 400 {
			s.write("orders.log", line)
		}
		s.passes(1)
	}
	if n := s.shipper.counts.failures.Load(); n < 3 || n > 15 {
		t.Errorf("it was asked %d times in 35 s", n)
	}
	if len(s.shipper.batch) != 0 || cap(s.shipper.batch) > batchBytes+4*longestLine {
		t.Errorf("the batch has %d bytes of %d", len(s.shipper.batch), cap(s.shipper.batch))
	}
	s.store.fails = false
	s.passes(10)
	s.check()
	if s.store.largest > 2*batchBytes {
		t.Errorf("a batch had %d bytes", s.store.largest)
	}
}

func TestLongLinesAreCutAlike(t *testing.T) {
	s := newScene(t)
	long := strings.Repeat("a", longestLine) + strings.Repeat("b", longestLine) + "c"
	s.append("orders.log", strings.Repeat("y", longestLine-7)+"\n"+long+"\nend\n")
	s.want = []string{strings.Repeat("y", longestLine-7), long[:longestLine], long[longestLine : 2*longestLine], "c", "end"}
	s.passes(3)
	s.check()
	s.store.kill()
	s.passes(5)
	s.check()
}

func TestTimesThatAreNone(t *testing.T) {
	s := newScene(t)
	source := &source{instance: "orders", id: "f"}
	for _, line := range []string{`{"time":"1970-01-01T00:00:00Z"}`, `{"time":"2099-01-01T00:00:00Z"}`, "text"} {
		source.read.Time = s.clock.Add(-time.Minute)
		if row := source.parse(logged{text: []byte(line)}, s.clock); !row.Time.Equal(s.clock.Add(-time.Minute)) {
			t.Errorf("%s gets the time %s", line, row.Time)
		}
	}
}

// allRead reports whether a file may be deleted: the launcher does it after another 64 MB.
func (s *scene) allRead(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	source := s.shipper.sources[inodeOf(info)]
	return source != nil && source.stored.Offset == info.Size()
}

func TestDrainSendsTheRest(t *testing.T) {
	s := newScene(t)
	s.write("orders.log", "one")
	s.passes(1)
	s.write("orders.log", "two")
	s.append("orders.log", "no end of line")
	s.want = append(s.want, "no end of line")
	s.shipper.drain(t.Context())
	s.check()
	s.store.fails = true
	s.write("broker.log", "not sent")
	s.shipper.drain(t.Context()) // it ends although the store does not answer
}
