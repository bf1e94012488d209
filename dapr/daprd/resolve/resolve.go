// Package resolve is the name resolution between sidecars. It distributes calls over the replicas of an app in turn.
//
// Dapr asks a name resolution for an address before each call and never reports the result of the call. gRPC, which
// makes the calls between sidecars, knows the result, and knows when a connection breaks. So ResolveID costs nothing:
// it answers with a gRPC target of our own scheme, always the same for an app. The target has a gRPC resolver, which
// looks the name up repeatedly (watch), and a gRPC balancer, which keeps a connection to each replica and chooses a
// reachable one for each call (replicas). Both exist as long as the connection that Dapr keeps for the target.
//
// Names are looked up in DNS (NewDNS, the component "dns") or in the table of the component sqlite (NewSQLite).
package resolve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync/atomic"
	"text/template"

	"github.com/dapr/components-contrib/nameresolution"
	"github.com/dapr/kit/config"
	"github.com/dapr/kit/logger"
)

// maxNames is how many targets are remembered. A program calls only a few apps.
const maxNames = 256

// needed ends the process, to be started again, if the name resolution cannot start. daprd v1.18.0 (runtime.go) only logs
// the error, and would run on as a sidecar that cannot call others, and that nobody can call.
type needed struct {
	nameresolution.Resolver
	end func(format string, arguments ...any)
}

// Init implements nameresolution.Resolver.
func (n needed) Init(ctx context.Context, m nameresolution.Metadata) error {
	err := n.Resolver.Init(ctx, m)
	if err != nil && ctx.Err() == nil { // otherwise the sidecar is being stopped
		n.end("The sidecar ends, because its name resolution cannot start: %v", err)
	}
	return err
}

// app has the parts of a name.
type app struct {
	id, namespace string
	port          int
}

// targets are the gRPC targets of apps, each made once.
type targets struct {
	known atomic.Pointer[map[app]string] // replaced, never changed
}

// of returns the target of an app.
func (t *targets) of(request nameresolution.ResolveRequest, target func(app) (string, error)) (string, error) {
	asked := app{id: request.ID, namespace: request.Namespace, port: request.Port}
	var known map[app]string
	if p := t.known.Load(); p != nil {
		known = *p
	}
	if one, ok := known[asked]; ok {
		return one, nil
	}
	one, err := target(asked)
	if err != nil || len(known) >= maxNames {
		return one, err
	}
	more := make(map[app]string, len(known)+1)
	maps.Copy(more, known)
	more[asked] = one
	t.known.Store(&more) // if another call stored a target meanwhile, it is lost and made again
	return one, nil
}

// names is the component "dns". It must not be a nameresolution.ResolverMulti, whose answers Dapr keeps for 20 seconds.
type names struct {
	prefix   string
	template *template.Template
	targets  targets
}

// NewDNS returns the component "dns": a DNS name has the addresses of all sidecars of an app, as in Compose's DNS and a
// headless Service of Kubernetes. The configuration has one key: template, the host and port of an app's sidecars, such
// as {{.ID}}-daprd:50002. It may use .ID, .Namespace and .Port, and name several hosts, separated by commas.
func (d *Directory) NewDNS(log logger.Logger) nameresolution.Resolver {
	return needed{&names{prefix: d.prefix}, log.Fatalf}
}

// Init implements nameresolution.Resolver.
func (n *names) Init(_ context.Context, metadata nameresolution.Metadata) error {
	normalized, err := config.Normalize(metadata.Configuration)
	if err != nil {
		return fmt.Errorf("reading the configuration of the name resolution: %w", err)
	}
	settings, _ := normalized.(map[string]any)
	for key := range settings {
		if key != "template" {
			return fmt.Errorf("the name resolution dns has no setting %q", key)
		}
	}
	text, _ := settings["template"].(string)
	if text == "" {
		return errors.New("the name resolution dns needs a template: host and port of an app's sidecars")
	}
	if n.template, err = template.New("name").Option("missingkey=error").Parse(text); err != nil {
		return fmt.Errorf("reading the template of the name resolution: %w", err)
	}
	_, err = n.target(app{id: "app", namespace: "default", port: 50002})
	return err
}

// ResolveID implements nameresolution.Resolver.
func (n *names) ResolveID(_ context.Context, request nameresolution.ResolveRequest) (string, error) {
	return n.targets.of(request, n.target)
}

// target is the gRPC target of an app.
func (n *names) target(a app) (string, error) {
	var name bytes.Buffer
	err := n.template.Execute(&name, nameresolution.ResolveRequest{ID: a.id, Namespace: a.namespace, Port: a.port})
	if err != nil {
		return "", fmt.Errorf("filling in the template of the name resolution: %w", err)
	}
	if _, _, err := net.SplitHostPort(name.String()); err != nil {
		return "", fmt.Errorf("the template of the name resolution must give host and port: %w", err)
	}
	return n.prefix + name.String(), nil
}

// Close implements nameresolution.Resolver.
func (n *names) Close() error { return nil }
