package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"caravan/dapr/bench"
	"caravan/internal/clock"
	"caravan/internal/id"
	"caravan/internal/token"
	"caravan/services/users/adapters/keyring"
	users "caravan/services/users/contract"
)

// benchStreams measures event streams.
func (c *cli) benchStreams(ctx context.Context) error {
	o := c.options.bench
	stack, release, err := c.benchTarget(ctx)
	if err != nil {
		return err
	}
	defer release()
	result, err := bench.Streams(ctx, stack, bench.StreamsOptions{Root: c.root, Streams: o.streams, Rate: o.rate, Duration: o.duration, Out: c.out})
	if result.OpenAtOnce == 0 {
		if err == nil {
			err = ctx.Err()
		}
		return err
	}
	result.Show(c.out)
	files := []string{filepath.Join(c.dir, "bench", result.FileName())}
	if o.json != "" {
		files = append(files, o.json)
	}
	if kept := result.Keep(files...); kept != nil {
		return errors.Join(err, kept)
	}
	fmt.Fprintf(c.out, "The result is in %s\n", strings.Join(files, " and "))
	if err == nil {
		err = result.Complete()
	}
	if result.Interrupted && err == nil {
		return ctx.Err()
	}
	return err
}

// signer returns a function that makes access tokens of customers of the launcher's stack in a folder.
func signer(dir string) (func(userID string, expiry time.Time) (string, error), error) {
	keys, err := keyring.Open(filepath.Join(dir, "secrets", "keys"), time.Hour, rand.Reader, clock.System{})
	if err != nil {
		return nil, fmt.Errorf("opening the keys of the stack: %w", err)
	}
	return func(userID string, expiry time.Time) (string, error) {
		now := time.Now().Truncate(time.Second)
		roles := []string{users.RoleCustomer}
		return keys.Sign(token.Claims{
			Issuer: "caravan", Audience: "caravan-api", ClientID: users.ClientID, Subject: userID, ID: id.Random{}.New(), SessionID: id.Random{}.New(),
			IssuedAt: now, Expiry: expiry.Truncate(time.Second), AuthTime: now, Version: 1, Roles: roles, Permissions: users.PermissionsOf(roles),
		})
	}, nil
}
