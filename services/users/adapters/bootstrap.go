package adapters

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"caravan/services/users/app"
)

// Bootstrapper creates an admin; *app.Accounts is one.
type Bootstrapper interface {
	Bootstrap(ctx context.Context, admin app.Registration) error
}

// Bootstrap makes sure at start that the configured admin exists, and holds readiness back until then, so that nobody
// else can register the address first.
type Bootstrap struct {
	Accounts Bootstrapper
	Admin    app.Registration // nothing is done if its Email is empty
	Log      *slog.Logger
	done     atomic.Bool
}

// Run creates the admin. It returns an error for another attempt, and nil when there is nothing left to do, also when
// the address is somebody else's: that needs a person.
func (b *Bootstrap) Run(ctx context.Context) error {
	if b.Admin.Email == "" {
		b.done.Store(true)
		return nil
	}
	err := b.Accounts.Bootstrap(ctx, b.Admin)
	if errors.Is(err, app.ErrBootstrap) {
		b.Log.ErrorContext(ctx, "the first admin was not made", "error", err)
		err = nil
	}
	if err == nil {
		b.done.Store(true)
	}
	return err
}

// Ready is nil once Run has ended well.
func (b *Bootstrap) Ready(context.Context) error {
	if !b.done.Load() {
		return errors.New("the first admin is being made")
	}
	return nil
}
