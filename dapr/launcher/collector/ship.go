package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// storeClient is what the shipper needs of the store.
type storeClient interface {
	Insert(ctx context.Context, lines []byte) (connection int64, err error)
	Health(ctx context.Context) (connection int64, err error)
	Flush(ctx context.Context) error
	Offsets(ctx context.Context, file string, from int64) (map[int64]bool, error)
}

// Limits of the shipper.
const (
	batchBytes = 1 << 20
	readBytes  = 512 << 10
	// safeAfter is how many passes, at least 700 ms apart, the store has to answer before what it accepted counts as stored for good. It
	// writes to the disk after at most twice its flush interval of 5 s, and a second.
	safeAfter   = 22
	callTimeout = 15 * time.Second
	lastPause   = 5 * time.Second
)

// shipper sends the lines of files to the store. All its methods are called by one goroutine.
type shipper struct {
	store     storeClient
	positions *positions
	log       *slog.Logger
	counts    *counts
	folders   []folder
	now       func() time.Time

	sources map[inode]*source
	ignored map[string]inode  // files of the last run without a position, and of other containers
	warned  map[string]string // errors by path
	begun   bool
	buffer  []byte
	batch   []byte
	lines   int64 // in the batch

	connection int64 // on which everything since stored was sent; 0: unknown
	marks      []mark
	failedAt   time.Time // zero if the store worked last
	retryAt    time.Time
	pause      time.Duration
	checkedAt  time.Time
}

// mark is what was sent at some pass.
type mark struct {
	age int // passes since, in which the store answered
	at  map[*source]position
}

func newShipper(client storeClient, positions *positions, log *slog.Logger, counts *counts) *shipper {
	return &shipper{
		store: client, positions: positions, log: log, counts: counts, now: time.Now, sources: map[inode]*source{},
		ignored: map[string]inode{}, warned: map[string]string{},
		buffer: make([]byte, readBytes), batch: make([]byte, 0, batchBytes+2*longestLine),
	}
}

// pass looks for new lines once and sends them. It reports whether there is more to send now.
func (s *shipper) pass(ctx context.Context) (more bool) {
	s.discover()
	defer s.measure()
	if s.now().Before(s.retryAt) {
		return false
	}
	if s.connection == 0 && !s.recover(ctx) {
		return false
	}
	sent := s.snapshot()
	more, err := s.ship(ctx)
	if err == nil {
		err = s.confirm(ctx, sent)
	}
	if err != nil {
		s.failed(ctx, err)
		return false
	}
	s.forget()
	return more
}

// measure counts what is not sent.
func (s *shipper) measure() {
	var behind int64
	for _, source := range s.sources {
		behind += max(0, source.size-source.read.Offset)
	}
	s.counts.bytes.Store(behind)
}

// recover asks the store, after a start of either, which lines it has beyond those that are stored for good.
func (s *shipper) recover(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 4*callTimeout)
	defer cancel()
	connection, err := s.store.Health(ctx)
	if err == nil {
		err = s.store.Flush(ctx)
	}
	for _, source := range s.sources {
		if err != nil {
			break
		}
		var present map[int64]bool
		if source.size > source.stored.Offset {
			present, err = s.store.Offsets(ctx, source.id, source.stored.Offset)
		}
		if err == nil {
			source.rewind(present)
		}
	}
	if err != nil {
		s.failed(ctx, err)
		return false
	}
	if !s.failedAt.IsZero() {
		s.log.Info("the store answers again", "seconds", int(s.now().Sub(s.failedAt).Seconds()))
	}
	s.connection, s.marks, s.failedAt, s.pause = connection, nil, time.Time{}, 0
	s.counts.failures.Store(0)
	return true
}

// ship reads every file once, and sends what it has.
func (s *shipper) ship(ctx context.Context) (more bool, err error) {
	now := s.now()
	for _, source := range s.sources {
		if source.read.Offset >= source.size && !source.gone {
			continue
		}
		full, err := source.readLines(s.buffer, func(line logged) { s.take(source, line, now) })
		if err != nil {
			s.warn("a log cannot be read", source.path, err)
			continue
		}
		more = more || full
		if len(s.batch) >= batchBytes {
			if err := s.send(ctx); err != nil {
				return false, err
			}
		}
	}
	return more, s.send(ctx)
}

// take adds a line to the batch, unless the store has it.
func (s *shipper) take(source *source, line logged, now time.Time) {
	switch {
	case source.skip(line.offset):
		if !source.folder.spans {
			source.note(line, now)
		}
	case source.folder.spans:
		s.lines++
		// A row that a kill cut in two is left out.
		s.batch = appendSpan(s.batch, line.text, source.id, line.offset)
	case len(line.text) > 0:
		s.lines++
		s.batch = source.appendLine(s.batch, line, now)
	}
}

// send sends the batch.
func (s *shipper) send(ctx context.Context) error {
	if len(s.batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	connection, err := s.store.Insert(ctx, s.batch)
	s.batch = s.batch[:0]
	lines := s.lines
	s.lines = 0
	if err != nil {
		return err
	}
	if connection != s.connection {
		return errRestarted
	}
	s.counts.lines.Add(lines)
	return nil
}

// errRestarted says that the store may be another process than before.
var errRestarted = errors.New("the store was started again")

// snapshot returns what was sent so far and is not stored for good.
func (s *shipper) snapshot() map[*source]position {
	at := map[*source]position{}
	for _, one := range s.sources {
		if one.read.Offset > one.stored.Offset && one.read != s.lastMarked(one) {
			at[one] = one.read
		}
	}
	return at
}

func (s *shipper) lastMarked(source *source) position {
	for i := len(s.marks) - 1; i >= 0; i-- {
		if at, ok := s.marks[i].at[source]; ok {
			return at
		}
	}
	return position{}
}

// confirm adds a mark of what was sent, and remembers what the store has had long enough. Passes without a pause are one.
func (s *shipper) confirm(ctx context.Context, sent map[*source]position) error {
	if len(s.marks) == 0 && len(sent) == 0 || s.now().Sub(s.checkedAt) < interval {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	connection, err := s.store.Health(ctx)
	if err != nil {
		return err
	}
	if connection != s.connection {
		return errRestarted
	}
	s.checkedAt = s.now()
	for i := range s.marks {
		s.marks[i].age++
	}
	if len(sent) > 0 {
		s.marks = append(s.marks, mark{at: sent})
	}
	done := 0
	for ; done < len(s.marks) && s.marks[done].age >= safeAfter; done++ {
		for source, at := range s.marks[done].at {
			source.stored = at
			s.positions.of[source.id] = at
		}
	}
	if done == 0 {
		return nil
	}
	s.marks = s.marks[done:]
	return s.positions.write()
}

// failed notes that the store does not work. Nothing is read until it does: the files keep the lines.
func (s *shipper) failed(ctx context.Context, err error) {
	s.connection, s.marks = 0, nil
	s.batch, s.lines = s.batch[:0], 0
	for _, source := range s.sources {
		source.rewind(nil)
	}
	if ctx.Err() != nil {
		return
	}
	if s.failedAt.IsZero() && !errors.Is(err, errRestarted) {
		s.failedAt = s.now()
		s.log.Warn("the store does not answer; lines wait in their files", "error", err)
	}
	s.counts.failures.Add(1)
	// An insert whose answer is missing may still be under way. The pause lets it end before the store is asked what it has.
	s.pause = min(max(2*s.pause, time.Second), lastPause)
	s.retryAt = s.now().Add(s.pause)
}

// forget closes files that are in no folder any more, and removes files of spans that are stored.
func (s *shipper) forget() {
	for number, source := range s.sources {
		whole := source.ended && source.stored.Offset >= source.size && source.read == source.stored
		if !whole {
			continue
		}
		if source.folder.finished != nil && !source.gone {
			if err := source.folder.finished(source.path); err != nil {
				s.log.Warn("a file of spans cannot be removed", "error", err)
				continue
			}
			source.gone = true
		}
		if source.gone {
			_ = source.file.Close()
			delete(s.sources, number)
			delete(s.positions.of, source.id)
		}
	}
}

// drain sends what is left when the stack ends.
func (s *shipper) drain(ctx context.Context) {
	for ctx.Err() == nil {
		s.discover()
		for _, source := range s.sources {
			source.ended = source.ended || source.folder.engine == nil // containers may go on
		}
		if s.connection == 0 && !s.recover(ctx) {
			break
		}
		more, err := s.ship(ctx)
		if err != nil {
			s.log.Warn("the last lines are sent at the next start", "error", fmt.Errorf("sending: %w", err))
			break
		}
		if !more {
			break
		}
	}
}
