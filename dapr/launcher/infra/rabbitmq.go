package infra

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"caravan/dapr/launcher/process"
)

// rabbitmq is the node at RABBITMQ_URL, or a private node of Debian's package. A private node runs as the current user
// and shares nothing with the system's service: it has its own ports, data and Erlang port mapper.
func rabbitmq(place Place) (Server, error) {
	server := Server{Kind: "rabbitmq", Set: "rabbitmq"}
	if url := place.Getenv("RABBITMQ_URL"); url != "" {
		server.URL = url
		server.Settings = same(map[string]string{"connectionString": url})
		return server, nil
	}
	// /usr/sbin/rabbitmq-server would require root or the user rabbitmq.
	program, err := place.find("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/rabbitmq/sbin/rabbitmq-server")
	if err != nil {
		return Server{}, err
	}
	mapper, err := place.find("epmd")
	if err != nil {
		return Server{}, err
	}
	if place.Dir == os.DevNull {
		server.Processes = []process.Spec{{Path: program}}
		return server, nil
	}
	node := rabbitNode{place: place}
	if err := node.reserve(); err != nil {
		return Server{}, err
	}
	if err := node.settle(filepath.Join(place.Dir, "data", "rabbitmq")); err != nil {
		return Server{}, err
	}
	if err := node.findMetrics(program); err != nil {
		return Server{}, err
	}
	server.MetricsPort = node.metricsPort
	if node.password, err = Secret(place.Dir, "broker"); err != nil {
		return Server{}, err
	}
	server.URL = fmt.Sprintf("amqp://caravan:%s@127.0.0.1:%d/", node.password, node.port)
	server.Settings = same(map[string]string{"connectionString": server.URL})
	server.Prepare = func(context.Context) error { return node.configure() }
	server.Processes = []process.Spec{node.mapper(mapper), node.server(program)}
	return server, nil
}

// rabbitNode is a private node.
type rabbitNode struct {
	place                   Place
	home                    string
	folder                  *os.File // home is reached through it; nil when home is its path
	port, distPort, mapPort int
	metricsPort             int // 0 without the plugin
	password                string
}

func (n *rabbitNode) reserve() (err error) {
	for _, port := range []*int{&n.port, &n.distPort, &n.mapPort} {
		if *port, err = n.place.Port(); err != nil {
			return err
		}
	}
	return nil
}

// settle makes the node's folder. To find its free disk space, the node runs a shell command with the path between
// apostrophes. If the path contains one, the node waits without end, so it gets a path through the open folder.
func (n *rabbitNode) settle(path string) (err error) {
	if err := folders(path); err != nil {
		return err
	}
	n.home = path
	if !strings.Contains(path, "'") {
		return nil
	}
	if n.folder, err = os.Open(path); err != nil {
		return fmt.Errorf("opening the broker's folder: %w", err)
	}
	n.home = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.folder.Fd())
	return nil
}

// metricsPlugin shows metrics in the format of Prometheus. It comes with the server, but it is off unless enabled.
const metricsPlugin = "rabbitmq_prometheus"

// findMetrics reserves a port for metrics, if they are wanted and the server has the plugin. With a plugin that it does not have, a node
// would not start.
func (n *rabbitNode) findMetrics(program string) (err error) {
	if !n.place.Metrics {
		return nil
	}
	if program, err = filepath.EvalSymlinks(program); err != nil {
		return fmt.Errorf("finding the broker's plugins: %w", err)
	}
	plugins, err := filepath.Glob(filepath.Join(filepath.Dir(program), "..", "plugins", metricsPlugin+"-*"))
	if err != nil || len(plugins) == 0 {
		return err
	}
	n.metricsPort, err = n.place.Port()
	return err
}

// elect is Erlang that a node evaluates when it starts. Nodes in containers use the same file.
//
//go:embed elect.erl
var elect string

// configure writes the node's files. It limits the memory, because by default the write-ahead log of quorum queues may
// take 512 MB.
func (n *rabbitNode) configure() error {
	if err := folders(filepath.Join(n.home, "log")); err != nil {
		return err
	}
	plugins, metrics := "[].\n", ""
	if n.metricsPort != 0 {
		plugins = "[" + metricsPlugin + "].\n"
		metrics = fmt.Sprintf("prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = %d", n.metricsPort)
	}
	files := map[string]string{
		"rabbitmq.conf": strings.Join([]string{
			fmt.Sprintf("listeners.tcp.default = 127.0.0.1:%d", n.port),
			"default_user = caravan",
			"default_pass = " + n.password,
			"vm_memory_high_watermark.absolute = 384MB",
			"disk_free_limit.absolute = 50MB",
			"raft.wal_max_size_bytes = 16777216",
			"log.file = false",
			"log.console = true",
			"log.console.level = info",
			"log.console.formatter = json",
			metrics,
			"",
		}, "\n"),
		"enabled_plugins": plugins,
		"env.conf":        "",
		"advanced.config": "[].\n",
		"elect.erl":       elect,
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(n.home, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("configuring the broker: %w", err)
		}
	}
	return nil
}

// mapper is the Erlang port mapper. Otherwise the node would start one as a daemon, which would stay after the node
// ends.
func (n *rabbitNode) mapper(program string) process.Spec {
	return process.Spec{
		Name: "broker-epmd",
		URL:  fmt.Sprintf("tcp://127.0.0.1:%d", n.mapPort),
		Path: program,
		Args: []string{"-port", strconv.Itoa(n.mapPort), "-address", "127.0.0.1"},
		Env:  n.place.environment("HOME=" + n.home),
		Dir:  n.place.Dir,
		Ready: func(ctx context.Context) error {
			return dial(ctx, n.mapPort, nil)
		},
	}
}

func (n *rabbitNode) server(program string) process.Spec {
	at := func(name string) string { return filepath.Join(n.home, name) }
	return process.Spec{
		Name: "broker",
		URL:  fmt.Sprintf("amqp://127.0.0.1:%d", n.port),
		Path: program,
		Dir:  n.place.Dir,
		Env: n.place.environment(
			"HOME="+n.home,
			// The node's data has the node's name. The node has its own port mapper, so the name need not be unique on
			// the machine.
			"RABBITMQ_NODENAME=caravan@localhost",
			"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
			"RABBITMQ_NODE_PORT="+strconv.Itoa(n.port),
			"RABBITMQ_DIST_PORT="+strconv.Itoa(n.distPort),
			"ERL_EPMD_PORT="+strconv.Itoa(n.mapPort),
			"ERL_EPMD_ADDRESS=127.0.0.1",
			"RABBITMQ_MNESIA_BASE="+at("nodes"),
			"RABBITMQ_LOG_BASE="+at("log"),
			"RABBITMQ_ENABLED_PLUGINS_FILE="+at("enabled_plugins"),
			"RABBITMQ_CONFIG_FILE="+at("rabbitmq.conf"),
			"RABBITMQ_ADVANCED_CONFIG_FILE="+at("advanced.config"),
			"RABBITMQ_GENERATED_CONFIG_DIR="+at("generated"),
			"RABBITMQ_CONF_ENV_FILE="+at("env.conf"),
			"RABBITMQ_PID_FILE="+at("pid"),
			// With this the Erlang machine replaces the start script, which would otherwise wait for it. So signals and
			// the parent's death reach the machine.
			"RABBITMQ_ALLOW_INPUT=true",
			"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none "+
				"-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} "+
				// The start script splits this at spaces, which the path may contain.
				`-eval ok=file:eval(filename:join(os:getenv("HOME"),"elect.erl"))`,
			"ERL_CRASH_DUMP_SECONDS=0",
		),
		Ready: func(ctx context.Context) error {
			return dial(ctx, n.port, greetAMQP)
		},
		StopTimeout: 20 * time.Second,
	}
}

// greetAMQP opens an AMQP 0-9-1 connection and reads the server's first frame, which the server sends when it accepts
// clients (section 2.2.4 of the specification).
func greetAMQP(conn net.Conn) error {
	if _, err := conn.Write([]byte("AMQP\x00\x00\x09\x01")); err != nil {
		return fmt.Errorf("greeting the broker: %w", err)
	}
	const methodFrame = 1
	var header [7]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return fmt.Errorf("waiting for the broker's greeting: %w", err)
	}
	if header[0] != methodFrame {
		return errors.New("the port is not an AMQP 0-9-1 broker's")
	}
	return nil
}

// dial connects to a port of this machine and calls check with the connection.
func dial(ctx context.Context, port int, check func(net.Conn) error) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if check == nil {
		return nil
	}
	return check(conn)
}
