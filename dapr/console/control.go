package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"caravan/dapr/launcher"
)

// stackControl is the launcher of the stack.
type stackControl interface {
	Report(ctx context.Context) (launcher.Report, error)
	// Kill sends a process a signal. If it ends, the launcher starts it again.
	Kill(ctx context.Context, name string, signal syscall.Signal) error
	// Start starts a stopped process.
	Start(ctx context.Context, name string) error
	// SetConnection cuts a connection, slows it down or restores it.
	SetConnection(ctx context.Context, name string, state launcher.ConnectionState) error
	// Traffic returns what sidecars and the gateway have counted.
	Traffic(ctx context.Context) (launcher.Traffic, error)
}

// localControl reaches a launcher on this machine through its socket, also when it was started again.
type localControl struct {
	dir string

	mu        sync.Mutex
	connected *launcher.Control
}

func (l *localControl) control(ctx context.Context) (*launcher.Control, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.connected == nil {
		connected, err := launcher.Connect(ctx, l.dir)
		if errors.Is(err, launcher.ErrNotUp) {
			return nil, errors.New("the launcher does not answer")
		}
		if err != nil {
			return nil, err
		}
		l.connected = connected
	}
	return l.connected, nil
}

// Report implements stackControl.
func (l *localControl) Report(ctx context.Context) (launcher.Report, error) {
	c, err := l.control(ctx)
	if err != nil {
		return launcher.Report{}, err
	}
	report, err := c.Brief(ctx)
	if err != nil {
		return report, fmt.Errorf("the launcher does not answer: %w", err)
	}
	return report, nil
}

// Kill implements stackControl.
func (l *localControl) Kill(ctx context.Context, name string, signal syscall.Signal) error {
	c, err := l.control(ctx)
	if err != nil {
		return err
	}
	return c.Kill(ctx, name, signal)
}

// Start implements stackControl.
func (l *localControl) Start(ctx context.Context, name string) error {
	c, err := l.control(ctx)
	if err != nil {
		return err
	}
	return c.Start(ctx, name)
}

// SetConnection implements stackControl.
func (l *localControl) SetConnection(ctx context.Context, name string, state launcher.ConnectionState) error {
	c, err := l.control(ctx)
	if err != nil {
		return err
	}
	return c.SetConnection(ctx, name, state)
}

// Traffic implements stackControl.
func (l *localControl) Traffic(ctx context.Context) (launcher.Traffic, error) {
	c, err := l.control(ctx)
	if err != nil {
		return launcher.Traffic{}, err
	}
	traffic, err := c.Traffic(ctx)
	if err != nil {
		return traffic, fmt.Errorf("the launcher does not answer: %w", err)
	}
	return traffic, nil
}
