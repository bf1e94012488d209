package main

import (
	"bytes"
	"slices"
	"time"
)

// logged is a line of a process with its place in the file.
type logged struct {
	text   []byte // valid until the next line
	offset int64
	at     time.Time // when the engine read the line; zero if the file does not say it
}

// joiner makes lines of the records of an engine: it joins the parts of long lines. It starts where no line is open and passes lines on
// when no line is open again, so every place that it leaves off at is one where it can start. What it makes of a file
// depends on the file alone, not on how much is read at once.
type joiner struct {
	*engine
	visit func(logged)
	from  int64       // the last place at which no line was open; all before was passed on
	open  [2]openLine // of standard output and standard error
	group []logged    // that are complete while the other stream has an open line
}

// openLine is a line of which not all parts are read.
type openLine struct {
	logged
	last time.Time // of its last part
	open bool
}

// stale is how long after its last part an open line stays open. A process that ends within a line never completes it.
const stale = 10 * time.Second

// add takes the record at an offset. The next one starts at next.
func (j *joiner) add(record []byte, offset, next int64) {
	j.take(record, offset)
	if j.clean() {
		j.from = next
	}
}

func (j *joiner) take(record []byte, offset int64) {
	f, ok := j.parse(string(bytes.TrimRight(record, "\r")))
	if !ok { // the engine did not write this; it is kept as it is
		j.complete(logged{text: record, offset: offset})
		return
	}
	stream := &j.open[0]
	if f.Stream != "stdout" {
		stream = &j.open[1]
	}
	for i := range j.open {
		if j.open[i].open && f.Time.Sub(j.open[i].last) > stale {
			j.finish(&j.open[i])
		}
	}
	if stream.open && (j.sameTime && !f.Time.Equal(stream.at) || len(stream.text)+len(f.Text) > longestLine) {
		j.finish(stream)
	}
	if j.clean() {
		j.from = offset
	}
	if !stream.open && !f.Partial {
		j.complete(logged{text: []byte(f.Text), offset: offset, at: f.Time})
		return
	}
	if !stream.open {
		*stream = openLine{logged: logged{text: stream.text[:0], offset: offset, at: f.Time}, open: true}
	}
	stream.text, stream.last = append(stream.text, f.Text...), f.Time
	if !f.Partial {
		j.finish(stream)
	}
}

// finish completes an open line.
func (j *joiner) finish(line *openLine) {
	line.open = false
	j.complete(line.logged)
}

// complete passes a line on, or keeps it until no line is open.
func (j *joiner) complete(line logged) {
	if !j.clean() {
		line.text = slices.Clone(line.text)
		j.group = append(j.group, line)
		return
	}
	for _, earlier := range j.group {
		j.visit(earlier)
	}
	j.group = j.group[:0]
	j.visit(line)
}

// clean reports whether no line is open.
func (j *joiner) clean() bool { return !j.open[0].open && !j.open[1].open }

// end completes all open lines before a place.
func (j *joiner) end(offset int64) {
	j.from = offset
	for i := range j.open {
		if j.open[i].open {
			j.finish(&j.open[i])
		}
	}
}
