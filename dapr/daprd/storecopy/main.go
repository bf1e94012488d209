// Command storecopy compares the documents of one app in two stores, and copies them from one to the other. It uses the
// sidecar's own store components, so it reads and writes what a sidecar would, in any store that can list its keys.
// dapr/migrate runs it while nothing else uses either store.
//
// It reads one job from its standard input and writes progress and result to its standard output, as JSON, one value
// per line. When its launcher ends, the standard input ends, and then storecopy ends too.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/components-contrib/state"
	"github.com/dapr/kit/logger"

	stores "caravan/dapr/daprd/store"
)

// job says what to do.
type job struct {
	// App is the app id of the documents.
	App string `json:"app"`
	// From is only read.
	From component `json:"from"`
	To   component `json:"to"`
	// Copy writes what is missing. Otherwise the two stores are only compared.
	Copy bool `json:"copy"`
	// Replace also overwrites what differs, and deletes what From does not have.
	Replace bool `json:"replace"`
}

// component is a state store component as its file describes it.
type component struct {
	Type     string            `json:"type"`
	Settings map[string]string `json:"settings"`
}

// line is one line of output: progress or, at the end, the result.
type line struct {
	Done   int     `json:"done"`
	Of     int     `json:"of"`
	Result *result `json:"result,omitempty"`
}

// result is how the two stores compare. After a copy, it is how they compared before each document was copied; a new
// comparison shows the present state.
type result struct {
	From      int    `json:"from"` // documents in From
	To        int    `json:"to"`
	Same      int    `json:"same"`
	Missing   int    `json:"missing"`   // in To
	Different int    `json:"different"` // in both, with different content
	Foreign   int    `json:"foreign"`   // only in To
	Digest    string `json:"digest"`    // of all keys and contents of From
	// Examples are the first few keys that are different or foreign.
	Examples []string `json:"examples,omitempty"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, in io.Reader, out io.Writer) error {
	var todo job
	if err := json.NewDecoder(in).Decode(&todo); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	ctx, orphaned := context.WithCancelCause(ctx)
	defer orphaned(nil)
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, in)
		orphaned(errors.New("the launcher is gone"))
	}()
	from, err := open(ctx, todo.From)
	if err != nil {
		return fmt.Errorf("opening the store to copy from: %w", err)
	}
	defer from.Close()
	to, err := open(ctx, todo.To)
	if err != nil {
		return fmt.Errorf("opening the store to copy to: %w", err)
	}
	defer to.Close()
	c := &copier{job: todo, from: from, to: to, out: json.NewEncoder(out), digest: sha256.New()}
	if err := c.all(ctx); err != nil {
		return fmt.Errorf("documents of %s: %w", todo.App, errors.Join(err, context.Cause(ctx)))
	}
	return nil
}

// store is the part of a state store that is needed here.
type store interface {
	state.Store
	state.KeysLiker
}

// open opens a store as a sidecar does.
func open(ctx context.Context, c component) (store, error) {
	log := logger.NewLogger("storecopy")
	log.SetOutput(os.Stderr)
	log.SetOutputLevel(logger.ErrorLevel)
	made := map[string]func(logger.Logger) state.Store{
		"state.sqlite":     stores.NewSQLite,
		"state.postgresql": stores.NewPostgreSQL,
		"state.redis":      stores.NewRedis,
	}[c.Type]
	if made == nil {
		return nil, fmt.Errorf("%q is no store that documents are kept in", c.Type)
	}
	opened, ok := made(log).(store)
	if !ok {
		return nil, fmt.Errorf("%s cannot list its keys", c.Type)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return opened, opened.Init(ctx, state.Metadata{Base: metadata.Base{Name: "store", Properties: c.Settings}})
}

// batch is how many documents are read at a time. lanes is how many are read or written at once if the component
// handles them one by one.
const (
	batch = 100
	lanes = 8
)

// copier does one job.
type copier struct {
	job
	from, to store
	out      *json.Encoder
	digest   io.Writer
	found    result
}

func (c *copier) all(ctx context.Context) error {
	keys, err := c.keys(ctx, c.from)
	if err != nil {
		return err
	}
	there, err := c.keys(ctx, c.to)
	if err != nil {
		return err
	}
	c.found.From, c.found.To = len(keys), len(there)
	if err := c.foreign(ctx, keys, there); err != nil {
		return err
	}
	hash := sha256.New()
	c.digest = hash
	done := 0
	for some := range slices.Chunk(keys, batch) {
		if err := c.some(ctx, some); err != nil {
			return err
		}
		done += len(some)
		if err := c.out.Encode(line{Done: done, Of: len(keys)}); err != nil {
			return err
		}
	}
	c.found.Digest = hex.EncodeToString(hash.Sum(nil))
	return c.out.Encode(line{Done: done, Of: len(keys), Result: &c.found})
}

// keys lists the keys of the app's documents, in order and each once. A store may ignore letter case, or list a key
// twice.
func (c *copier) keys(ctx context.Context, from store) ([]string, error) {
	prefix := c.App + "||"
	response, err := from.KeysLike(ctx, &state.KeysLikeRequest{Pattern: prefix + "%"})
	if err != nil {
		return nil, fmt.Errorf("listing keys: %w", err)
	}
	keys := slices.DeleteFunc(response.Keys, func(key string) bool { return !strings.HasPrefix(key, prefix) })
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// foreign counts the keys that only the target has, and deletes them if the job says so.
func (c *copier) foreign(ctx context.Context, keys, there []string) error {
	var foreign []string
	for _, key := range there {
		if _, known := slices.BinarySearch(keys, key); !known {
			foreign = append(foreign, key)
		}
	}
	c.found.Foreign = len(foreign)
	c.example(foreign...)
	if !c.Copy || len(foreign) == 0 {
		return nil
	}
	if !c.Replace {
		return errors.New("the target has documents of its own")
	}
	return c.remove(ctx, foreign)
}

// some compares, and copies, some documents.
func (c *copier) some(ctx context.Context, keys []string) error {
	here, err := read(ctx, c.from, keys)
	if err != nil {
		return err
	}
	there, err := read(ctx, c.to, keys)
	if err != nil {
		return err
	}
	var absent, differing []string
	for _, key := range keys {
		value, ok := here[key]
		if !ok {
			return fmt.Errorf("%s is gone from the store to copy from: somebody uses it", key)
		}
		c.hash(key, value)
		other, ok := there[key]
		switch {
		case !ok:
			absent = append(absent, key)
		case bytes.Equal(value, other):
			c.found.Same++
		default:
			differing = append(differing, key)
		}
	}
	c.found.Missing += len(absent)
	c.found.Different += len(differing)
	c.example(differing...)
	if !c.Copy {
		return nil
	}
	if len(differing) > 0 {
		if !c.Replace {
			return fmt.Errorf("%s has another content in the target", differing[0])
		}
		if err := c.remove(ctx, differing); err != nil {
			return err
		}
	}
	return c.write(ctx, append(absent, differing...), here)
}

// hash adds a document to the digest, with lengths, so that different sets of documents have different digests.
func (c *copier) hash(key string, value []byte) {
	var lengths [16]byte
	binary.BigEndian.PutUint64(lengths[:8], uint64(len(key)))
	binary.BigEndian.PutUint64(lengths[8:], uint64(len(value)))
	for _, part := range [][]byte{lengths[:], []byte(key), value} {
		_, _ = c.digest.Write(part) // a hash never fails
	}
}

func (c *copier) example(keys ...string) {
	const enough = 3
	c.found.Examples = append(c.found.Examples, keys[:min(len(keys), max(0, enough-len(c.found.Examples)))]...)
}

// read reads documents. The answer has no entry for a document that does not exist.
func read(ctx context.Context, from store, keys []string) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	requests := make([]state.GetRequest, len(keys))
	for i, key := range keys {
		requests[i] = state.GetRequest{Key: key, Options: state.GetStateOption{Consistency: state.Strong}}
	}
	responses, err := from.BulkGet(ctx, requests, state.BulkGetOpts{Parallelism: lanes})
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	values := make(map[string][]byte, len(keys))
	for _, response := range responses {
		if response.Error != "" {
			return nil, fmt.Errorf("reading %s: %s", response.Key, response.Error)
		}
		if response.ETag != nil || len(response.Data) > 0 {
			values[response.Key] = response.Data
		}
	}
	return values, nil
}

// write creates documents as services do, with "first writer wins". One store marks such documents, and then refuses to
// overwrite them without a read before.
func (c *copier) write(ctx context.Context, keys []string, values map[string][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	requests := make([]state.SetRequest, len(keys))
	for i, key := range keys {
		requests[i] = state.SetRequest{
			Key: key, Value: values[key],
			Options: state.SetStateOption{Concurrency: state.FirstWrite, Consistency: state.Strong},
		}
	}
	if err := c.to.BulkSet(ctx, requests, state.BulkStoreOpts{Parallelism: lanes}); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

func (c *copier) remove(ctx context.Context, keys []string) error {
	for some := range slices.Chunk(keys, batch) {
		requests := make([]state.DeleteRequest, len(some))
		for i, key := range some {
			requests[i] = state.DeleteRequest{Key: key}
		}
		if err := c.to.BulkDelete(ctx, requests, state.BulkStoreOpts{Parallelism: lanes}); err != nil {
			return fmt.Errorf("deleting from the target: %w", err)
		}
	}
	return nil
}
