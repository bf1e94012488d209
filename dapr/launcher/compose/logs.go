package compose

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"caravan/dapr/launcher"
	"caravan/internal/clock"
)

// ReadLogs returns the lines of one process, or of all, that accept returns true for, in order of their times.
func (p *Project) ReadLogs(ctx context.Context, name string, accept func(launcher.LogLine) bool) ([]launcher.LogLine, error) {
	chosen, err := p.logged(ctx, name)
	if err != nil {
		return nil, err
	}
	var all []launcher.LogLine
	for _, k := range chosen {
		_, err := k.logs(ctx, nil, func(line launcher.LogLine) {
			if accept(line) {
				all = append(all, line)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b launcher.LogLine) int { return a.Time.Compare(b.Time) })
	return all, nil
}

// FollowLogs shows the existing and future lines that accept returns true for, until the context ends.
func (p *Project) FollowLogs(ctx context.Context, name string, accept func(launcher.LogLine) bool, show func(launcher.LogLine)) error {
	chosen, err := p.logged(ctx, name)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, k := range chosen {
		group.Go(func() {
			k.followLogs(ctx, func(line launcher.LogLine) {
				mu.Lock()
				defer mu.Unlock()
				if accept(line) {
					show(line)
				}
			})
		})
	}
	group.Wait()
	return nil
}

// logged returns the containers of one process, or of all.
func (p *Project) logged(ctx context.Context, name string) ([]Container, error) {
	if name == "" {
		return p.Containers(ctx)
	}
	return p.of(ctx, name)
}

// followLogs runs "docker logs" again when it ends, which happens whenever the container's process ends.
func (k Container) followLogs(ctx context.Context, show func(launcher.LogLine)) {
	args := []string{"--follow"}
	for ended := false; !ended; ended = (clock.System{}).Sleep(ctx, 500*time.Millisecond) != nil {
		last, _ := k.logs(ctx, args, show)
		if !last.IsZero() {
			args = []string{"--follow", "--since", last.Add(time.Nanosecond).Format(time.RFC3339Nano)}
		}
	}
}

// logs passes on every line of "docker logs", and returns the time of the last one.
func (k Container) logs(ctx context.Context, args []string, pass func(launcher.LogLine)) (last time.Time, err error) {
	command := exec.CommandContext(ctx, "docker", append(append([]string{"logs", "--timestamps"}, args...), k.ID)...)
	reader, writer := io.Pipe()
	command.Stdout, command.Stderr = writer, writer
	if err := command.Start(); err != nil {
		return last, fmt.Errorf("reading the log of %s: %w", k.Name(), err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- command.Wait()
		_ = writer.Close()
	}()
	scanner := bufio.NewScanner(reader)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		stamp, text, _ := strings.Cut(scanner.Text(), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil { // a message of docker itself
			text = scanner.Text()
		} else {
			last = at
		}
		line := launcher.ParseLine(k.Name(), text)
		if line.Time.IsZero() {
			line.Time = at
		}
		pass(line)
	}
	_ = reader.CloseWithError(io.ErrClosedPipe) // after a line that is too long, docker stops
	if err := cmp.Or(scanner.Err(), <-ended); err != nil {
		return last, fmt.Errorf("reading the log of %s: %w", k.Name(), err)
	}
	return last, nil
}
