package document

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// combineMax bounds how many waiting commands share one write.
const combineMax = 128

// warmFor is how long a record that was read ahead is used. An older one would do no harm, because compare-and-swap
// decides, but it is probably out of date.
const warmFor = 2 * time.Second

// warmMax limits the number of records that were read ahead and are not used yet.
const warmMax = 4096

// command is one caller's Update of a document.
type command[P any] struct {
	ctx    context.Context
	decide func(doc P) error
	done   chan struct{}
	doc    P
	err    error
}

func (c *command[P]) finish(doc P, err error) {
	c.doc, c.err = doc, err
	close(c.done)
}

// queue holds the commands that wait for one key. It exists while a goroutine works on that key.
type queue[P any] struct {
	waiting []*command[P]
}

// enqueue hands a command to the goroutine of its key. It starts one if there is none.
func (r *Repository[T, P]) enqueue(id string, c *command[P]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q, busy := r.queues[id]; busy {
		q.waiting = append(q.waiting, c)
		return
	}
	q := &queue[P]{waiting: []*command[P]{c}}
	r.queues[id] = q
	go r.work(id, q)
}

// work combines the waiting commands of one key into writes until no command is left.
func (r *Repository[T, P]) work(id string, q *queue[P]) {
	for {
		r.mu.Lock()
		if len(q.waiting) == 0 {
			delete(r.queues, id)
			r.mu.Unlock()
			return
		}
		n := min(len(q.waiting), combineMax)
		commands := q.waiting[:n:n]
		q.waiting = q.waiting[n:]
		r.mu.Unlock()
		if commands = attended(commands); len(commands) > 0 {
			r.commit(id, commands)
		}
	}
}

// attended drops the commands whose callers left while they waited. Those callers got the answer that the outcome is
// unknown, and may have repeated their commands.
func attended[P any](commands []*command[P]) []*command[P] {
	var left []*command[P]
	for _, c := range commands {
		if err := c.ctx.Err(); err != nil {
			c.finish(c.doc, err)
			continue
		}
		left = append(left, c)
	}
	return left
}

// commit applies the commands and answers each of them.
func (r *Repository[T, P]) commit(id string, commands []*command[P]) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(commands[0].ctx), r.opts.Timeout)
	defer cancel()
	u := &update[T, P]{repo: r, id: id, key: r.Key(id)}
	doc, outcomes, err := u.guarded(ctx, commands)
	for i, c := range commands {
		switch {
		case err != nil:
			c.finish(nil, fmt.Errorf("updating %s: %w", u.key, err))
		case outcomes[i] == nil, errors.Is(outcomes[i], ErrUnchanged):
			c.finish(doc, nil)
		default:
			c.finish(nil, outcomes[i])
		}
	}
	if err == nil && u.wrote && r.warm != nil && r.warm(doc) {
		r.readAhead(ctx, id)
	}
}

// readAhead keeps the record of a document that will soon be written again.
func (r *Repository[T, P]) readAhead(ctx context.Context, id string) {
	records, err := r.store.Get(ctx, r.Key(id))
	if err != nil {
		return
	}
	record, ok := records[r.Key(id)]
	if !ok {
		return
	}
	now := r.opts.Clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ready) >= warmMax {
		for k, w := range r.ready {
			if now.Sub(w.at) > warmFor {
				delete(r.ready, k)
			}
		}
	}
	if len(r.ready) < warmMax {
		r.ready[id] = warmRecord{record: record, at: now}
	}
}

// takeWarm returns the record that was read ahead for id, and removes it.
func (r *Repository[T, P]) takeWarm(id string) (Record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, ok := r.ready[id]
	delete(r.ready, id)
	if !ok || r.opts.Clock.Now().Sub(w.at) > warmFor {
		return Record{}, false
	}
	return w.record, true
}
