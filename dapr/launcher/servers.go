package launcher

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"caravan/dapr/launcher/infra"

	"golang.org/x/sync/errgroup"
)

// chooseServers chooses broker, store and mail server.
func (s *Stack) chooseServers() (err error) {
	topics, err := s.plan.topics()
	if err != nil {
		return err
	}
	place := infra.Place{
		Dir: s.dir, Topics: topics, Port: s.ports.Take, Getenv: os.Getenv, Metrics: s.options.Observe == ObserveFull,
		Program: func(name string) string { return filepath.Join(s.options.Bin, name) },
	}
	if s.broker, err = infra.Broker(s.options.Broker, place); err != nil {
		return err
	}
	if s.store, err = infra.Store(s.options.Store, place); err != nil {
		return err
	}
	if s.plan.sendsMail() {
		if s.mail, err = infra.Mail(s.options.Mail, place); err != nil {
			return err
		}
	}
	for _, notice := range []string{s.broker.Notice, s.store.Notice} {
		if notice != "" {
			s.console.say("%s.", notice)
		}
	}
	return nil
}

// startServers starts broker, store and mail server at the same time and waits for all.
func (s *Stack) startServers(ctx context.Context) error {
	for _, program := range slices.Concat(s.broker.Programs, s.store.Programs, s.mail.Programs) {
		if err := buildPrograms(ctx, s.root, s.options.Bin, []string{"./dapr/launcher/" + program}); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for what, server := range map[string]infra.Server{"broker": s.broker, "store": s.store, "mail": s.mail} {
		group.Go(func() error {
			began := time.Now()
			if err := s.startServer(ctx, server); err != nil {
				return err
			}
			if len(server.Processes) > 0 {
				s.console.say("%s (%s) ready in %s.", what, server.Kind, time.Since(began).Round(100*time.Millisecond))
			}
			return nil
		})
	}
	return group.Wait()
}

func (s *Stack) startServer(ctx context.Context, server infra.Server) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	if server.Prepare != nil {
		if err := server.Prepare(ctx); err != nil {
			return err
		}
	}
	for _, spec := range server.Processes {
		p, err := s.add(spec)
		if err != nil {
			return err
		}
		p.Start()
		if err := p.WaitReady(ctx, 3); err != nil {
			return err
		}
	}
	return nil
}
