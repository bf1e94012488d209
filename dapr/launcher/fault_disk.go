package launcher

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"caravan/dapr/launcher/infra"
)

// smallDisk is a separate file system for database files, small enough to be filled.
type smallDisk struct {
	path   string
	reason error // why there is none; nil when it is mounted
}

// prepareFaults makes what the faults in the options need.
func (s *Stack) prepareFaults() error {
	if s.options.Proxies {
		s.proxies = newProxies()
	}
	if s.options.SmallDisk == 0 {
		return nil
	}
	s.disk = &smallDisk{path: filepath.Join(s.dir, "disk")}
	s.disk.reason = s.disk.mount(s.options.SmallDisk, s.store)
	if s.disk.reason != nil {
		s.console.say("The store's disk cannot be filled up: %v.", s.disk.reason)
	}
	return nil
}

func (s *Stack) endFaults() {
	if s.proxies != nil {
		s.proxies.close()
	}
	if s.disk != nil && s.disk.reason == nil {
		_ = unix.Unmount(s.disk.path, unix.MNT_DETACH) // after an error nothing more can be done
	}
}

// mount makes a file system in memory, which requires root.
func (d *smallDisk) mount(size int64, store infra.Server) error {
	if store.URL != "" {
		return fmt.Errorf("%w: the %s store keeps its files itself", ErrNoFault, store.Kind)
	}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("making a small disk: %w", err)
	}
	_ = unix.Unmount(d.path, unix.MNT_DETACH) // left by a launcher that was killed
	if err := unix.Mount("tmpfs", d.path, "tmpfs", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		return fmt.Errorf("%w: mounting a small disk: %w", ErrNoFault, err)
	}
	return nil
}

// relocate moves database files to the disk.
func (d *smallDisk) relocate(settings map[string]string, data string) {
	for name, value := range settings {
		settings[name] = strings.ReplaceAll(value, infra.EscapePath(data)+"/", infra.EscapePath(d.path)+"/")
	}
}

// CanFillDisk says why FillDisk cannot work in this stack; nil means that it can.
func (s *Stack) CanFillDisk() error {
	if s.disk == nil {
		return fmt.Errorf("%w: the stack has no small disk", ErrNoFault)
	}
	return s.disk.reason
}

// FillDisk uses up the disk of the store's files. The function that it returns frees the space.
func (s *Stack) FillDisk() (heal func() error, err error) {
	if err := s.CanFillDisk(); err != nil {
		return nil, err
	}
	path := filepath.Join(s.disk.path, "filler")
	heal = func() error {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("freeing the disk: %w", err)
		}
		return nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("filling the disk: %w", err)
	}
	defer file.Close()
	// The small size uses the last page of the file system, too.
	for _, size := range []int{1 << 20, 4 << 10} {
		block := make([]byte, size)
		for err = nil; err == nil; {
			_, err = file.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return heal, fmt.Errorf("filling the disk: %w", err)
		}
	}
	return heal, nil
}
