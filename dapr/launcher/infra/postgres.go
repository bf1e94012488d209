package infra

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"caravan/dapr/launcher/process"
)

// postgres is the server at POSTGRES_URL, or a private cluster of the installed PostgreSQL.
func postgres(place Place) (Server, error) {
	server := Server{Kind: "postgres", Set: "postgres"}
	if url := place.Getenv("POSTGRES_URL"); url != "" {
		server.URL = url
		server.Settings = same(map[string]string{"connectionString": url})
		return server, nil
	}
	// Debian keeps the server's programs outside of the PATH, in one folder per version.
	initdb, err := place.find("initdb", "/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb")
	if err != nil {
		return Server{}, err
	}
	c := cluster{place: place, bin: filepath.Dir(initdb), data: filepath.Join(place.Dir, "data", "postgres")}
	if place.Dir == os.DevNull {
		server.Processes = []process.Spec{{Path: filepath.Join(c.bin, "postgres")}}
		return server, nil
	}
	if c.port, err = place.Port(); err != nil {
		return Server{}, err
	}
	if c.password, err = Secret(place.Dir, "store"); err != nil {
		return Server{}, err
	}
	if err := c.chooseUser(); err != nil {
		return Server{}, err
	}
	server.URL = fmt.Sprintf("postgres://caravan:%s@127.0.0.1:%d/postgres?sslmode=disable", c.password, c.port)
	server.Settings = same(map[string]string{
		"connectionString": fmt.Sprintf("host=127.0.0.1 port=%d user=caravan password=%s dbname=postgres sslmode=disable connect_timeout=10", c.port, c.password),
	})
	server.Prepare = c.create
	server.Processes = []process.Spec{c.server()}
	return server, nil
}

// cluster is a private PostgreSQL cluster.
type cluster struct {
	place      Place
	bin, data  string
	port       int
	password   string
	attributes syscall.SysProcAttr
	owner      *syscall.Credential // nil when it runs as the current user
}

// chooseUser chooses the user of the server, which refuses to run as root. Root starts it as the user postgres. If that
// user cannot access the stack's folder, as under /tmp, root starts it in a user namespace in which root's files belong
// to an ordinary user.
func (c *cluster) chooseUser() error {
	if os.Getuid() != 0 {
		return nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		account, err = user.Lookup("nobody")
	}
	if err == nil && reachable(filepath.Dir(c.data)) {
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		c.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		c.attributes.Credential = c.owner
		return nil
	}
	const ordinary = 1000
	c.attributes = syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: ordinary, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: ordinary, HostID: 0, Size: 1}},
		Credential:  &syscall.Credential{Uid: ordinary, Gid: ordinary, NoSetGroups: true},
	}
	return nil
}

// reachable reports whether every user may access all existing folders of the path.
func reachable(path string) bool {
	for {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(path)
		if parent == path {
			return true
		}
		path = parent
	}
}

// create makes the cluster unless it exists.
func (c *cluster) create(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(c.data, "PG_VERSION")); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(c.data), 0o711); err != nil {
		return fmt.Errorf("making a folder for the database: %w", err)
	}
	passwords, err := os.CreateTemp("", "caravan-postgres-*")
	if err != nil {
		return fmt.Errorf("handing the password to initdb: %w", err)
	}
	defer os.Remove(passwords.Name())
	_, err = passwords.WriteString(c.password + "\n")
	if err := errors.Join(err, passwords.Close()); err != nil {
		return fmt.Errorf("handing the password to initdb: %w", err)
	}
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		return fmt.Errorf("making a folder for the database: %w", err)
	}
	if c.owner != nil {
		for _, path := range []string{passwords.Name(), c.data} {
			if err := os.Chown(path, int(c.owner.Uid), int(c.owner.Gid)); err != nil {
				return fmt.Errorf("giving the database its folder: %w", err)
			}
		}
	}
	command := exec.CommandContext(ctx, filepath.Join(c.bin, "initdb"), "--pgdata", c.data, "--username", "caravan",
		"--pwfile", passwords.Name(), "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-instructions")
	command.Env, command.Dir = c.place.environment(), "/"
	attributes := c.attributes
	command.SysProcAttr = &attributes
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("creating the database: %w\n%s", errors.Join(ctx.Err(), err), strings.TrimSpace(string(output)))
	}
	return nil
}

func (c *cluster) server() process.Spec {
	port := strconv.Itoa(c.port)
	return process.Spec{
		Name: "store",
		URL:  "postgres://127.0.0.1:" + port,
		Path: filepath.Join(c.bin, "postgres"),
		Args: []string{
			"-D", c.data, "-p", port,
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
			// A confirmed commit is on disk.
			"-c", "fsync=on", "-c", "synchronous_commit=on",
			"-c", "shared_buffers=64MB", "-c", "max_connections=100",
			"-c", "log_destination=stderr", "-c", "logging_collector=off",
		},
		Env:        c.place.environment(),
		Dir:        "/",
		Attributes: c.attributes,
		Ready: func(ctx context.Context) error {
			probe := exec.CommandContext(ctx, filepath.Join(c.bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", port)
			probe.Env = c.place.environment()
			return probe.Run()
		},
		// SIGINT is a fast shutdown. SIGTERM would wait for the sidecars' connections.
		StopSignal:  syscall.SIGINT,
		StopTimeout: 20 * time.Second,
	}
}
