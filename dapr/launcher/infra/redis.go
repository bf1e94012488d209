package infra

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"caravan/dapr/launcher/process"
)

// redis is the server at REDIS_URL, or a private one that writes every command to disk before it answers.
func redis(place Place) (Server, error) {
	return redisServer(place, Server{Kind: "redis", Set: "redis"}, "REDIS_URL", "store")
}

// redisStreams is a Redis server that is used as a broker. It is a separate server, also if the store is Redis, so that
// the broker's data is not in the store's memory and log.
func redisStreams(place Place) (Server, error) {
	return redisServer(place, Server{Kind: "redis-streams", Set: "redis-streams"}, "REDIS_STREAMS_URL", "broker")
}

// redisServer is the server in the variable, or a private one. role is "store" or "broker".
func redisServer(place Place, server Server, variable, role string) (Server, error) {
	if raw := place.Getenv(variable); raw != "" {
		settings, err := runningRedis(variable, raw)
		server.URL, server.Settings = raw, same(settings)
		return server, err
	}
	program, err := place.find("redis-server")
	if err != nil {
		return Server{}, err
	}
	if place.Dir == os.DevNull {
		server.Processes = []process.Spec{{Path: program}}
		return server, nil
	}
	port, err := place.Port()
	if err != nil {
		return Server{}, err
	}
	password, err := Secret(place.Dir, role)
	if err != nil {
		return Server{}, err
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	data := filepath.Join(place.Dir, "data", server.Kind)
	server.URL = fmt.Sprintf("redis://:%s@%s/0", password, address)
	server.Settings = same(map[string]string{"redisHost": address, "redisPassword": password, "redisDB": "0"})
	server.Prepare = func(context.Context) error { return configureRedis(data, port, password) }
	server.Processes = []process.Spec{{
		Name: role,
		URL:  "redis://" + address,
		Path: program,
		// Redis takes *, ? and [ in the path as a pattern, and starts without settings when nothing matches. It keeps
		// its files in the folder in which it runs.
		Args:  []string{"/proc/self/cwd/" + redisFile},
		Env:   place.environment(),
		Dir:   data,
		Ready: func(ctx context.Context) error { return dial(ctx, port, pingRedis(password)) },
	}}
	return server, nil
}

// runningRedis converts redis://[user:password@]host[:port][/database], or rediss for TLS, into settings of a
// component.
func runningRedis(variable, raw string) (map[string]string, error) {
	address, err := url.Parse(raw)
	if err != nil || (address.Scheme != "redis" && address.Scheme != "rediss") || address.Hostname() == "" {
		return nil, errors.New(variable + " is not of the form redis://[user:password@]host[:port][/database]")
	}
	port := address.Port()
	if port == "" {
		port = "6379"
	}
	password, _ := address.User.Password()
	settings := map[string]string{
		"redisHost":     net.JoinHostPort(address.Hostname(), port),
		"redisPassword": password,
		"redisDB":       "0",
		"enableTLS":     strconv.FormatBool(address.Scheme == "rediss"),
	}
	if name := address.User.Username(); name != "" {
		settings["redisUsername"] = name
	}
	if database := strings.Trim(address.Path, "/"); database != "" {
		settings["redisDB"] = database
	}
	return settings, nil
}

// redisFile is the name of the file with a server's settings.
const redisFile = "redis.conf"

func configureRedis(data string, port int, password string) error {
	if err := folders(data); err != nil {
		return err
	}
	config := strings.Join([]string{
		"bind 127.0.0.1",
		"port " + strconv.Itoa(port),
		"requirepass " + password,
		"save \"\"",
		"appendonly yes",
		// Redis answers a write when it is on disk.
		"appendfsync always",
		// Answers must wait for the disk even while the log is rewritten.
		"no-appendfsync-on-rewrite no",
		// When the memory is full, writes are refused and nothing is evicted.
		"maxmemory-policy noeviction",
		"daemonize no",
		"",
	}, "\n")
	if err := os.WriteFile(filepath.Join(data, redisFile), []byte(config), 0o600); err != nil {
		return fmt.Errorf("configuring a server: %w", err)
	}
	return nil
}

// pingRedis checks that the server answers. It does not answer while it loads its data.
func pingRedis(password string) func(net.Conn) error {
	return func(conn net.Conn) error {
		if _, err := fmt.Fprintf(conn, "AUTH %s\r\nPING\r\n", password); err != nil {
			return fmt.Errorf("greeting the server: %w", err)
		}
		reader := bufio.NewReader(conn)
		for _, want := range []string{"+OK", "+PONG"} {
			line, err := reader.ReadString('\n')
			if err != nil {
				return fmt.Errorf("waiting for the server's answer: %w", err)
			}
			if strings.TrimSpace(line) != want {
				return fmt.Errorf("the server answers %q", strings.TrimSpace(line))
			}
		}
		return nil
	}
}
