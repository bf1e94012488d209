package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// waitLimit is how long a test waits for a condition.
const waitLimit = time.Minute

// rabbitMQ is the address of a node: that of RABBITMQ_URL, or a private node that ends with the test.
func rabbitMQ(t *testing.T) string {
	t.Helper()
	if url := os.Getenv("RABBITMQ_URL"); url != "" {
		return url
	}
	if testing.Short() {
		t.Skip("starts a broker")
	}
	// /usr/sbin/rabbitmq-server would require root or the user rabbitmq.
	program := "/usr/lib/rabbitmq/bin/rabbitmq-server"
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") == "" {
			t.Skipf("RabbitMQ is not installed: %v", err)
		}
		t.Fatal(err)
	}
	home := t.TempDir()
	port, mapper := freePort(t), freePort(t)
	at := func(name string) string { return filepath.Join(home, name) }
	for name, content := range map[string]string{
		"rabbitmq.conf":   fmt.Sprintf("listeners.tcp.default = 127.0.0.1:%d\ndisk_free_limit.absolute = 50MB\nlog.file = false\nlog.console = true\n", port),
		"enabled_plugins": "[].\n", "env.conf": "", "advanced.config": "[].\n",
	} {
		if err := os.WriteFile(at(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	launch(t, home, nil, "epmd", "-port", strconv.Itoa(mapper), "-address", "127.0.0.1")
	eventually(t, "the port mapper", func() bool { return dials(mapper) })
	launch(t, home, []string{
		"RABBITMQ_NODENAME=transient@localhost", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT=" + strconv.Itoa(port),
		"RABBITMQ_DIST_PORT=" + strconv.Itoa(freePort(t)), "ERL_EPMD_PORT=" + strconv.Itoa(mapper), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_MNESIA_BASE=" + at("nodes"), "RABBITMQ_LOG_BASE=" + at("log"), "RABBITMQ_ENABLED_PLUGINS_FILE=" + at("enabled_plugins"),
		"RABBITMQ_CONFIG_FILE=" + at("rabbitmq.conf"), "RABBITMQ_ADVANCED_CONFIG_FILE=" + at("advanced.config"),
		"RABBITMQ_GENERATED_CONFIG_DIR=" + at("generated"), "RABBITMQ_CONF_ENV_FILE=" + at("env.conf"), "RABBITMQ_PID_FILE=" + at("pid"),
		"RABBITMQ_ALLOW_INPUT=true", "ERL_CRASH_DUMP_SECONDS=0",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput +S 2:2 +sbwt none -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
	}, program)
	url := fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", port)
	eventually(t, "the broker", func() bool {
		connection, err := amqp.Dial(url)
		return err == nil && connection.Close() == nil
	})
	return url
}

// embeddedBroker is the address of a private broker that speaks Kafka's protocol, and ends with the test.
func embeddedBroker(t *testing.T, topic string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a broker")
	}
	home := t.TempDir()
	program := filepath.Join(home, "embeddedbroker")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./dapr/launcher/embeddedbroker")
	build.Dir = filepath.Join("..", "..")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the broker: %v\n%s", err, output)
	}
	port := freePort(t)
	launch(t, home, nil, program, "-port="+strconv.Itoa(port), "-data="+filepath.Join(home, "data"), "-topics="+topic)
	eventually(t, "the broker", func() bool { return dials(port) })
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// launch starts a program that ends with the test.
func launch(t *testing.T, home string, env []string, program string, args ...string) {
	t.Helper()
	output, err := os.CreateTemp(home, "output")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, args...)
	command.Dir, command.Stdout, command.Stderr = home, output, output
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8"}, env...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // when the thread that started it ends, the program ends
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // with what it started
		<-ended
		if t.Failed() {
			content, _ := os.ReadFile(output.Name())
			t.Logf("%s said:\n%s", program, content)
		}
		_ = output.Close()
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func dials(port int) bool {
	connection, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
	return err == nil && connection.Close() == nil
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited %s for %s", waitLimit, what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
