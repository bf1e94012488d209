package resolve

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	contrib "github.com/dapr/components-contrib/metadata"
	"github.com/dapr/components-contrib/nameresolution"
	"github.com/dapr/components-contrib/nameresolution/kubernetes"
	"github.com/dapr/components-contrib/nameresolution/sqlite"
	internals "github.com/dapr/dapr/pkg/proto/internals/v1"
	"github.com/dapr/kit/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
)

func target(t *testing.T, text string) resolver.Target {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return resolver.Target{URL: *u}
}

// component is the name resolution with a configuration. Its errors do not end this process.
func component(t testing.TB, configuration any) (nameresolution.Resolver, error) {
	n := (&Directory{prefix: "replicas:///"}).NewDNS(logger.NewLogger("test")).(needed).Resolver
	t.Cleanup(func() { _ = n.Close() })
	return n, n.Init(t.Context(), nameresolution.Metadata{Configuration: configuration})
}

func TestResolveID(t *testing.T) {
	for template, want := range map[string]string{
		"{{.ID}}-daprd:50002": "replicas:///orders-daprd:50002",
		"{{.ID}}-daprd.{{.Namespace}}.svc.cluster.local.:{{.Port}}": "replicas:///orders-daprd.shop.svc.cluster.local.:3702",
		"[::1]:50002": "replicas:///[::1]:50002",
	} {
		n, err := component(t, map[string]any{"template": template})
		if err != nil {
			t.Errorf("%s: %v", template, err)
			continue
		}
		for range 2 { // made, and then remembered
			got, err := n.ResolveID(t.Context(), nameresolution.ResolveRequest{ID: "orders", Namespace: "shop", Port: 3702})
			if err != nil || got != want {
				t.Errorf("%s: got %q, %v, want %q", template, got, err, want)
			}
		}
		if got := target(t, want).Endpoint(); "replicas:///"+got != want {
			t.Errorf("gRPC takes %s for the name %s", want, got)
		}
	}
}

func TestResolveIDKeepsAppsApart(t *testing.T) {
	n, err := component(t, map[string]any{"template": "{{.ID}}.{{.Namespace}}:{{.Port}}"})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 8 * maxNames {
		group.Go(func() {
			id := fmt.Sprintf("app%d", i%(2*maxNames))
			want := "replicas:///" + id + ".shop:50002"
			if got, err := n.ResolveID(t.Context(), nameresolution.ResolveRequest{ID: id, Namespace: "shop", Port: 50002}); err != nil || got != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
	group.Wait()
	if kept := len(*n.(*names).targets.known.Load()); kept > maxNames {
		t.Errorf("%d names are kept, want %d at most", kept, maxNames)
	}
}

func TestInitRefuses(t *testing.T) {
	for want, configuration := range map[string]any{
		"needs a template":    nil,
		"needs a template: h": map[string]any{"template": ""},
		"no setting":          map[string]any{"template": "{{.ID}}:50002", "resolver": "8.8.8.8"},
		"reading the templat": map[string]any{"template": "{{.ID"},
		"filling in":          map[string]any{"template": "{{.Nobody}}:50002"},
		"host and port":       map[string]any{"template": "{{.ID}}-daprd"},
	} {
		if _, err := component(t, configuration); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want an error that says %q", configuration, err, want)
		}
	}
}

// Dapr keeps the answers of a ResolverMulti for 20 seconds and itself chooses one of them.
func TestIsNoResolverMulti(t *testing.T) {
	if _, ok := new(Directory).NewDNS(logger.NewLogger("test")).(nameresolution.ResolverMulti); ok {
		t.Error("the component is a ResolverMulti")
	}
}

// What the name costs each call. With kubernetes, Dapr asks only every 20 seconds; the figure is for one such question.
func BenchmarkResolveID(b *testing.B) {
	log := logger.NewLogger("test")
	log.SetOutputLevel(logger.ErrorLevel)
	request := nameresolution.ResolveRequest{ID: "localhost", Namespace: "shop", Port: 50002}
	instance := nameresolution.Instance{AppID: "localhost", Namespace: "shop", Address: "127.0.0.1", DaprInternalPort: 50002, DaprHTTPPort: 3500, AppPort: 7000}
	for name, one := range map[string]struct {
		resolver      nameresolution.Resolver
		configuration any
	}{
		"dns":          {new(Directory).NewDNS(log), map[string]any{"template": "{{.ID}}:50002"}},
		"sqlite":       {(&Directory{log: log}).NewSQLite(log), map[string]any{"connectionString": b.TempDir() + "/names.db", "cleanupInterval": "0"}},
		"stock sqlite": {sqlite.NewResolver(log), map[string]any{"connectionString": b.TempDir() + "/names.db", "cleanupInterval": "0"}},
		"kubernetes":   {kubernetes.NewResolver(log), map[string]any{"template": "{{.ID}}:50002"}},
	} {
		b.Run(name, func(b *testing.B) {
			metadata := nameresolution.Metadata{Base: contrib.Base{}, Instance: instance, Configuration: one.configuration}
			if err := one.resolver.Init(b.Context(), metadata); err != nil {
				b.Fatal(err)
			}
			multi, _ := one.resolver.(nameresolution.ResolverMulti)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					var err error
					if multi != nil {
						_, err = multi.ResolveIDMulti(b.Context(), request)
					} else {
						_, err = one.resolver.ResolveID(b.Context(), request)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		})
		_ = one.resolver.Close()
	}
}

// What the choice of a replica costs each call.
func BenchmarkPick(b *testing.B) {
	for _, sick := range []bool{false, true} {
		b.Run(fmt.Sprintf("one is avoided=%t", sick), func(b *testing.B) {
			p := &picker{turn: new(atomic.Uint32)}
			for range 3 {
				p.ready = append(p.ready, connected{replica: newReplica(resolver.Address{}, nil)})
			}
			if sick {
				p.ready[1].avoid.Store(1 << 62)
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := p.Pick(balancer.PickInfo{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// In Kubernetes mode daprd puts "dns:///" before the component's answer.
func TestKubernetesMode(t *testing.T) {
	s := newStack(t, "127.0.0.1", "127.0.0.2")
	n := shared.NewDNS(logger.NewLogger("test"))
	if err := n.Init(t.Context(), nameresolution.Metadata{Configuration: map[string]any{"template": "127.0.0.1,127.0.0.2:{{.Port}}"}}); err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(s.port)
	if err != nil {
		t.Fatal(err)
	}
	named, err := n.ResolveID(t.Context(), nameresolution.ResolveRequest{ID: "orders", Port: port})
	if err != nil {
		t.Fatal(err)
	}
	for target, both := range map[string]bool{"dns:///" + named: true, "dns:///127.0.0.1:" + s.port: false} {
		conn, err := grpc.DialContext(t.Context(), target, grpc.WithTransportCredentials(insecure.NewCredentials())) //nolint:staticcheck // Dapr dials in this way
		if err != nil {
			t.Fatal(err)
		}
		s.caller = internals.NewServiceInvocationClient(conn)
		s.all(t, "127.0.0.1")
		if both {
			s.all(t, "127.0.0.2")
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}
