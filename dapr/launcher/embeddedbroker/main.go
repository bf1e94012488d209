// Command embeddedbroker is the message broker of a stack on a machine where none is installed. It is one node with
// Kafka's protocol that keeps its log on disk and syncs it before it answers. It uses kfake of the franz-go project,
// which calls itself a fake for tests. It does not replace a Kafka cluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"caravan/internal/version"
)

const (
	partitions   = 4 // of a topic
	probeTimeout = 3 * time.Second
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "embeddedbroker:", err)
		os.Exit(1)
	}
}

func run() error {
	port := flag.Int("port", 0, "port to listen on")
	host := flag.String("host", "127.0.0.1", "address to listen on")
	advertise := flag.String("advertise", "", "host that clients are sent to (default: the address listened on)")
	data := flag.String("data", "", "folder that keeps topics and groups")
	topics := flag.String("topics", "", "topics to have from the start, separated by commas")
	probing := flag.Bool("probe", false, "ask the broker that listens on the port whether it answers, and exit")
	showVersion := flag.Bool("version", false, "print what this is built from, and exit")
	flag.Parse()
	if *showVersion {
		fmt.Println("embeddedbroker", version.Read())
		return nil
	}
	if *probing && *port != 0 && flag.NArg() == 0 {
		return probe(*port)
	}
	if *port == 0 || *data == "" || flag.NArg() != 0 {
		return errors.New("needs -port and -data, and nothing else")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.Ports(*port),
		kfake.ListenFn(listenOn(*host, *advertise)),
		kfake.ClusterID("caravan"),
		kfake.DataDir(*data),
		kfake.SyncWrites(),
		kfake.AllowAutoTopicCreation(),
		kfake.DefaultNumPartitions(partitions),
		// The broker stores the topics that clients create only when it ends normally. After a crash such a topic would
		// exist again, but empty.
		kfake.SeedTopics(partitions, strings.FieldsFunc(*topics, func(r rune) bool { return r == ',' })...),
		kfake.WithLogger(kfake.BasicLogger(os.Stdout, kfake.LogLevelWarn)),
	)
	if err != nil {
		return fmt.Errorf("starting on port %d: %w", *port, err)
	}
	fmt.Printf("serving %s\n", strings.Join(cluster.ListenAddrs(), ", "))
	<-ctx.Done()
	cluster.Close()
	return nil
}

// listenOn listens on one address of the machine. kfake alone would listen on every interface.
func listenOn(host, advertise string) func(network, address string) (net.Listener, error) {
	return func(network, address string) (net.Listener, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("listening: %w", err)
		}
		listener, err := net.Listen(network, net.JoinHostPort(host, port))
		if err != nil || advertise == "" {
			return listener, err
		}
		return advertised{listener, net.JoinHostPort(advertise, port)}, nil
	}
}

// advertised is a listener that reports another address as its own: kfake sends its clients to that address.
type advertised struct {
	net.Listener
	address string
}

// Addr is the address under which clients reach the listener.
func (a advertised) Addr() net.Addr { return address(a.address) }

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// probe asks the broker for its API versions, the first request of every client.
func probe(port int) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))))
	if err != nil {
		return fmt.Errorf("probing: %w", err)
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("the broker on port %d does not answer: %w", port, err)
	}
	return nil
}
