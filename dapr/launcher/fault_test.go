package launcher

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/process"
)

// frame is one AMQP frame of a method.
func frame(class, method uint16, body int) []byte {
	payload := binary.BigEndian.AppendUint16(nil, class)
	payload = binary.BigEndian.AppendUint16(payload, method)
	payload = append(payload, make([]byte, body)...)
	out := append([]byte{methodFrame, 0, 1}, binary.BigEndian.AppendUint32(nil, uint32(len(payload)))...)
	return append(append(out, payload...), 0xCE)
}

// content is one AMQP frame of content, which may look like a method.
func content(body []byte) []byte {
	const bodyFrame = 3
	out := append([]byte{bodyFrame, 0, 1}, binary.BigEndian.AppendUint32(nil, uint32(len(body)))...)
	return append(append(out, body...), 0xCE)
}

// TestFramesAreFollowed: the connection is closed before the frame with the method, however the stream is split.
// Content that looks like such a frame does not count.
func TestFramesAreFollowed(t *testing.T) {
	before := bytes.Join([][]byte{[]byte("AMQP\x00\x00\x09\x01"), frame(10, 11, 40), content(frame(AMQPBasic, AMQPAck, 9)), frame(20, 10, 0)}, nil)
	stream := bytes.Join([][]byte{before, frame(AMQPBasic, AMQPAck, 9), frame(20, 11, 3)}, nil)
	for size := 1; size <= len(stream); size++ {
		var reader frameReader
		var passed []byte
		cut := false
		for at := 0; at < len(stream) && !cut; at += size {
			piece := stream[at:min(at+size, len(stream))]
			var keep int
			keep, cut = reader.read(piece, func(class, method uint16) bool { return class == AMQPBasic && method == AMQPAck })
			passed = append(passed, piece[:keep]...)
		}
		if !cut || !bytes.HasPrefix(passed, before) || len(passed) >= len(before)+methodHeader {
			t.Fatalf("in pieces of %d: cut is %v after %d bytes, want %d", size, cut, len(passed), len(before))
		}
	}
	var reader frameReader
	if keep, cut := reader.read(stream, func(uint16, uint16) bool { return false }); cut || keep != len(stream) {
		t.Errorf("without a hit %d of %d bytes pass, cut is %v", keep, len(stream), cut)
	}
	if keep, cut := (&frameReader{}).read([]byte("GET / HTTP/1.1\r\n\r\n"), func(uint16, uint16) bool { return true }); cut || keep != 18 {
		t.Errorf("what is no frame is cut")
	}
}

// echo is a server that sends back what it receives.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// proxied is a stack with a proxy in front of an echo server.
func proxied(t *testing.T) (s *Stack, address string) {
	t.Helper()
	upstream := echo(t)
	s = &Stack{proxies: newProxies(), ports: process.NewPorts()}
	t.Cleanup(func() { s.proxies.close(); s.ports.Release() })
	settings, err := s.reroute("orders", "broker", infra.Server{
		Kind: "rabbitmq", URL: "amqp://u:p@" + upstream + "/",
		Settings: func(string) map[string]string {
			return map[string]string{"connectionString": "amqp://u:p@" + upstream + "/"}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	address = settings["connectionString"][len("amqp://u:p@") : len(settings["connectionString"])-1]
	if address == upstream || len(s.Connections()) != 1 || s.Connections()[0] != "orders:broker" {
		t.Fatalf("no proxy before %s: %s, %v", upstream, address, s.Connections())
	}
	return s, address
}

func exchange(address string) error {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 5))
	return err
}

func TestConnectionsBreakAndHeal(t *testing.T) {
	s, address := proxied(t)
	if err := exchange(address); err != nil {
		t.Fatalf("through the proxy: %v", err)
	}
	for name, fault := range map[string]ConnectionFault{
		"cut":       {},
		"truncated": {Toxic: "limit_data", Attributes: map[string]any{"bytes": 3}},
		"hanging":   {Toxic: "timeout", Attributes: map[string]any{"timeout": 200}, Reconnect: true},
	} {
		heal, err := s.BreakConnection("orders:broker", fault)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := exchange(address); err == nil {
			t.Errorf("%s: it still works", name)
		}
		if err := heal(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := exchange(address); err != nil {
			t.Errorf("%s: it does not work after healing: %v", name, err)
		}
	}
	heal, err := s.BreakConnection("orders:broker", ConnectionFault{Toxic: "latency", Attributes: map[string]any{"latency": 300}})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := exchange(address); err != nil || time.Since(began) < 250*time.Millisecond {
		t.Errorf("a slow connection answers %v after %s", err, time.Since(began))
	}
	if err := heal(); err != nil {
		t.Error(err)
	}
	if _, err := s.BreakConnection("users:broker", ConnectionFault{}); !errors.Is(err, ErrNoFault) {
		t.Errorf("an unknown connection: %v", err)
	}
}

func TestSettingsOfAPostgresLeadToTheProxy(t *testing.T) {
	s := &Stack{proxies: newProxies(), ports: process.NewPorts()}
	t.Cleanup(func() { s.proxies.close(); s.ports.Release() })
	settings, err := s.reroute("orders", "store", infra.Server{
		Kind: "postgres", URL: "postgres://u:p@127.0.0.1:5432/d",
		Settings: func(string) map[string]string {
			return map[string]string{"connectionString": "host=127.0.0.1 port=5432 user=u"}
		},
	})
	if err != nil || settings["connectionString"] == "host=127.0.0.1 port=5432 user=u" {
		t.Errorf("%v, %v", settings, err)
	}
}

func TestASmallDiskFillsUpAndIsFreed(t *testing.T) {
	const size = 4 << 20
	d := &smallDisk{path: filepath.Join(t.TempDir(), "disk")}
	if d.reason = d.mount(size, infra.Server{Kind: "sqlite"}); d.reason != nil {
		t.Skipf("no small disk can be mounted: %v", d.reason)
	}
	s := &Stack{disk: d}
	t.Cleanup(s.endFaults)
	file := filepath.Join(d.path, "data")
	heal, err := s.FillDisk()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, 64<<10), 0o600); err == nil {
		t.Error("the full disk takes a file")
	}
	if err := heal(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, 64<<10), 0o600); err != nil {
		t.Errorf("the freed disk does not take a file: %v", err)
	}
	settings := map[string]string{"connectionString": "file:/x/data/orders.db?_pragma=synchronous(FULL)"}
	d.relocate(settings, "/x/data")
	if want := "file:" + d.path + "/orders.db?_pragma=synchronous(FULL)"; settings["connectionString"] != want {
		t.Errorf("relocated to %q", settings["connectionString"])
	}
}

func TestFaultsThatAreNotPossibleSaySo(t *testing.T) {
	s := &Stack{broker: infra.Server{Kind: "kafka"}}
	if _, err := s.BreakBroker(t.Context(), MemoryAlarm); !errors.Is(err, ErrNoFault) || s.CanBreakBroker() == nil {
		t.Errorf("a broker without such a fault: %v", err)
	}
	if _, err := s.FillDisk(); !errors.Is(err, ErrNoFault) {
		t.Errorf("a stack without a small disk: %v", err)
	}
	d := &smallDisk{path: t.TempDir()}
	if err := d.mount(1<<20, infra.Server{Kind: "postgres", URL: "postgres://x"}); !errors.Is(err, ErrNoFault) {
		t.Errorf("a store with a server of its own: %v", err)
	}
}
