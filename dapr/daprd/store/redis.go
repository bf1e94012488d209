package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	settings "github.com/dapr/components-contrib/common/component/redis"
	"github.com/dapr/components-contrib/state"
	"github.com/dapr/components-contrib/state/redis"
	"github.com/dapr/kit/logger"
	client "github.com/redis/go-redis/v9"

	"caravan/dapr/daprd/await"
)

// NewRedis makes the Redis component (state.redis, v1), which waits for its server, with bulks of its own: a bulk is one pipeline.
//
// The stock component (components-contrib 1.18.0) runs the reads and writes of a bulk at once, each on a connection of its own, with a
// system call or two on each side. Here they go over one connection, one after another without waiting in between. They are the same
// commands, and each has its own result. The component's Multi would be no substitute: it drops the first-write argument, so a create could
// overwrite a document.
func NewRedis(log logger.Logger) state.Store {
	fresh := func() *redis.StateStore { return redis.NewRedisStateStore(log).(*redis.StateStore) }
	return &marked{served{component: fresh(), connect: func(ctx context.Context, of state.Metadata) (component, error) {
		return await.Connected(ctx, log, func(ctx context.Context) (component, error) {
			connected := fresh()
			if err := connected.Init(ctx, copyOf(of)); err != nil {
				return nil, err // without a connection there is nothing to close
			}
			p, err := newPipelined(ctx, connected, maps.Clone(of.Properties))
			if err != nil {
				return nil, errors.Join(err, connected.Close())
			}
			return p, nil
		})
	}}}
}

// marked is a Redis component whose bulk read marks absent keys. It reports each error, so a key that comes back empty is absent.
type marked struct{ served }

// Query implements state.Querier.
func (m *marked) Query(ctx context.Context, request *state.QueryRequest) (*state.QueryResponse, error) {
	return m.component.(state.Querier).Query(ctx, request)
}

// BulkGet implements state.BulkStore. The answer has each key: with its value, with an error, or marked as Absent.
func (m *marked) BulkGet(ctx context.Context, requests []state.GetRequest, options state.BulkGetOpts) ([]state.BulkGetResponse, error) {
	responses, err := m.component.BulkGet(ctx, requests, options)
	if err != nil {
		return nil, err
	}
	found := make(map[string]state.BulkGetResponse, len(requests))
	for _, response := range responses {
		if !empty(response) {
			found[response.Key] = response
		}
	}
	return answers(requests, found), ctx.Err()
}

// newPipelined gives a component a client for pipelines. A server with replicas, a cluster, a sentinel and a default expiry are left to
// the component: it waits for replicas after each write, and finds the node of each key.
func newPipelined(ctx context.Context, connected *redis.StateStore, properties map[string]string) (component, error) {
	var s settings.Settings
	if err := s.Decode(properties); err != nil {
		return nil, fmt.Errorf("reading the settings of Redis: %w", err)
	}
	if s.Failover || s.RedisType == settings.ClusterType || s.UseEntraID || s.TTLInSeconds != nil {
		return connected, nil
	}
	options, err := optionsOf(&s)
	if err != nil {
		return nil, err
	}
	c := client.NewClient(options)
	info, err := c.Info(ctx, "replication").Result()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("asking Redis for its replicas: %w", err), c.Close())
	}
	if !strings.Contains(info, "connected_slaves:0\r\n") {
		return connected, c.Close()
	}
	return &pipelined{StateStore: connected, client: c}, nil
}

// optionsOf are the options that the component gives its client, except that nothing is repeated: a repeated pipeline would refuse the
// writes that it had done. Callers read back, and decide.
func optionsOf(s *settings.Settings) (*client.Options, error) {
	options := &client.Options{
		Addr: s.Host, Username: s.Username, Password: s.Password, DB: s.DB,
		MaxRetries:  -1,
		DialTimeout: time.Duration(s.DialTimeout), ReadTimeout: time.Duration(s.ReadTimeout), WriteTimeout: time.Duration(s.WriteTimeout),
		PoolSize: s.PoolSize, PoolTimeout: time.Duration(s.PoolTimeout),
		ConnMaxLifetime: time.Duration(s.MaxConnAge), ConnMaxIdleTime: time.Duration(s.IdleTimeout),
		ContextTimeoutEnabled: true,
	}
	if s.EnableTLS {
		options.TLSConfig = &tls.Config{InsecureSkipVerify: s.InsecureSkipTLSVerify} //nolint:gosec // a setting of the component
		err := s.SetCertificate(func(certificate *tls.Certificate) { options.TLSConfig.Certificates = []tls.Certificate{*certificate} })
		if err != nil {
			return nil, fmt.Errorf("reading the certificate for Redis: %w", err)
		}
	}
	return options, nil
}

// pipelined is a Redis component whose bulks are pipelines.
type pipelined struct {
	*redis.StateStore
	client *client.Client
}

// Close implements io.Closer.
func (p *pipelined) Close() error { return errors.Join(p.client.Close(), p.StateStore.Close()) }

// errUnanswered is the error of a command that got no answer, if the client gives none: it has none for the commands of a pipeline for
// which it found no connection.
var errUnanswered = errors.New("Redis did not answer")

// BulkGet implements state.BulkStore.
func (p *pipelined) BulkGet(ctx context.Context, requests []state.GetRequest, options state.BulkGetOpts) ([]state.BulkGetResponse, error) {
	for i := range requests {
		if len(requests[i].Metadata) > 0 { // perhaps as JSON
			return p.StateStore.BulkGet(ctx, requests, options)
		}
	}
	pipe := p.client.Pipeline()
	answers := make([]*client.MapStringStringCmd, len(requests))
	for i := range requests {
		answers[i] = pipe.HGetAll(ctx, requests[i].Key)
	}
	_, failed := pipe.Exec(ctx)
	responses := make([]state.BulkGetResponse, len(requests))
	for i, answer := range answers {
		responses[i] = p.readFrom(ctx, &requests[i], answer, failed)
	}
	return responses, nil
}

// readFrom is a document as the component reads it. What is not stored as the component stores documents is read by the component itself.
func (p *pipelined) readFrom(ctx context.Context, request *state.GetRequest, answer *client.MapStringStringCmd, failed error) state.BulkGetResponse {
	response := state.BulkGetResponse{Key: request.Key}
	fields, err := answer.Result()
	version, versioned := fields["version"]
	data, stored := fields["data"]
	switch {
	case err == nil && fields == nil:
		response.Error = errors.Join(errUnanswered, failed).Error()
	case err == nil && len(fields) == 0: // absent
	case err == nil && versioned && stored:
		response.Data, response.ETag = []byte(data), &version
	case err == nil || answered(err):
		one, err := p.StateStore.Get(ctx, request)
		if err != nil {
			response.Error = err.Error()
			break
		}
		response.Data, response.ETag, response.Metadata = one.Data, one.ETag, one.Metadata
	default:
		response.Error = err.Error()
	}
	return response
}

// setScript is the SHA-1 of the component's script for one write (setDefaultQuery in state/redis/redis.go). A server that does not have the script
// gets it with a write by the component. If another version of the component has another script, all bulks are written by the component;
// TestRedisHasTheScript notices.
const setScript = "d908b9553add63a82e03589b5c6d01a7654ef0f2"

// BulkSet implements state.BulkStore.
func (p *pipelined) BulkSet(ctx context.Context, requests []state.SetRequest, options state.BulkStoreOpts) error {
	for i := range requests {
		if !binary(&requests[i]) {
			return p.StateStore.BulkSet(ctx, requests, options)
		}
	}
	pipe := p.client.Pipeline()
	answers := make([]*client.Cmd, len(requests))
	var errs []error
	for i := range requests {
		version, first, err := condition(&requests[i])
		if err != nil {
			errs = append(errs, state.NewBulkStoreError(requests[i].Key, err))
			continue
		}
		answers[i] = pipe.EvalSha(ctx, setScript, []string{requests[i].Key}, version, requests[i].Value, first)
	}
	_, failed := pipe.Exec(ctx)
	var unscripted []state.SetRequest
	for i, answer := range answers {
		if answer == nil { // refused before
			continue
		}
		switch err := outcome(answer, failed); {
		case err == nil:
		case client.HasErrorPrefix(err, "NOSCRIPT"): // so nothing was written
			unscripted = append(unscripted, requests[i])
		default:
			errs = append(errs, state.NewBulkStoreError(requests[i].Key, err))
		}
	}
	// Dapr looks for one error of each key.
	if joined, ok := p.StateStore.BulkSet(ctx, unscripted, options).(interface{ Unwrap() []error }); ok {
		errs = append(errs, joined.Unwrap()...)
	}
	return errors.Join(errs...)
}

// binary reports whether a pipeline has the write: bytes without an expiry, and not as JSON. The component does all others.
func binary(request *state.SetRequest) bool {
	_, raw := request.Value.([]byte)
	return raw && len(request.Metadata) == 0 && state.CheckRequestOptions(request.Options) == nil
}

// condition are the arguments of the script that say when the write is refused, as the component makes them.
func condition(request *state.SetRequest) (version, first int, err error) {
	first = 1
	if request.Options.Concurrency == state.FirstWrite {
		first = 0
	}
	if request.Options.Concurrency == state.LastWrite || !request.HasETag() {
		return 0, first, nil
	}
	if version, err = strconv.Atoi(*request.ETag); err != nil {
		return 0, 0, state.NewETagError(state.ETagInvalid, err)
	}
	return version, first, nil
}

// outcome is the result of a write: an ETagError if it was refused. After any other error nobody knows whether it was done.
func outcome(answer *client.Cmd, failed error) error {
	err := answer.Err()
	switch {
	case err == nil && answer.Val() == nil:
		return errors.Join(errUnanswered, failed)
	case err != nil && answered(err) && strings.Contains(err.Error(), "failed to set key"):
		return state.NewETagError(state.ETagMismatch, err)
	}
	return err
}

// answered reports whether an error is an answer of the server.
func answered(err error) bool {
	var answer client.Error
	return errors.As(err, &answer)
}
