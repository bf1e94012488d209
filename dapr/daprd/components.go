package main

import (
	"github.com/dapr/components-contrib/nameresolution/hashicorp/consul"
	"github.com/dapr/components-contrib/nameresolution/kubernetes"
	"github.com/dapr/components-contrib/nameresolution/mdns"
	"github.com/dapr/components-contrib/secretstores/local/env"
	"github.com/dapr/components-contrib/secretstores/local/file"
	"github.com/dapr/dapr/pkg/components/bindings"
	"github.com/dapr/dapr/pkg/components/configuration"
	"github.com/dapr/dapr/pkg/components/conversation"
	"github.com/dapr/dapr/pkg/components/crypto"
	"github.com/dapr/dapr/pkg/components/lock"
	"github.com/dapr/dapr/pkg/components/middleware/http"
	"github.com/dapr/dapr/pkg/components/nameresolution"
	"github.com/dapr/dapr/pkg/components/pubsub"
	"github.com/dapr/dapr/pkg/components/secretstores"
	"github.com/dapr/dapr/pkg/components/state"
	"github.com/dapr/dapr/pkg/runtime/registry"
	"github.com/dapr/kit/logger"

	versions "github.com/dapr/dapr/pkg/components"

	"caravan/dapr/daprd/mail"
	"caravan/dapr/daprd/resolve"
	"caravan/dapr/daprd/store"
)

// components registers every component that a file under components/ may name, and the name resolutions for one
// machine, for compose and for Kubernetes.
func components(contrib, log logger.Logger, directory *resolve.Directory) *registry.Options {
	brokers, stores := pubsub.NewRegistry(), state.NewRegistry()
	brokers.Logger, stores.Logger = contrib, contrib
	brokers.RegisterComponent(newRabbitMQ, "rabbitmq")
	brokers.RegisterComponent(newKafka, "kafka")
	brokers.RegisterComponent(newRedisStreams, "redis")
	stores.RegisterComponent(store.NewSQLite, "sqlite")
	stores.RegisterComponent(store.NewRedis, "redis")
	stores.RegisterComponentWithVersions("postgresql", versions.Versioning{
		Preferred: versions.VersionConstructor{Version: "v2", Constructor: store.NewPostgreSQL},
		Default:   "v2",
	})

	names := nameresolution.NewRegistry()
	names.Logger = contrib
	names.RegisterComponent(directory.NewSQLite, "sqlite")
	names.RegisterComponent(mdns.NewResolver, "mdns")
	names.RegisterComponent(consul.NewResolver, "consul")
	names.RegisterComponent(kubernetes.NewResolver, "kubernetes")
	names.RegisterComponent(directory.NewDNS, "dns")

	secrets, outputs := secretstores.NewRegistry(), bindings.NewRegistry()
	secrets.Logger, outputs.Logger = contrib, contrib
	secrets.RegisterComponent(env.NewEnvSecretStore, "local.env")
	secrets.RegisterComponent(file.NewLocalSecretStore, "local.file")
	outputs.RegisterOutputBinding(mail.New, "smtp")

	middleware := http.NewRegistry()
	middleware.Logger = log
	return registry.NewOptions().
		WithPubSubs(brokers).
		WithStateStores(stores).
		WithNameResolutions(names).
		WithSecretStores(secrets).
		WithBindings(outputs).
		WithHTTPMiddlewares(middleware).
		WithConfigurations(configuration.NewRegistry()).
		WithLocks(lock.NewRegistry()).
		WithCryptoProviders(crypto.NewRegistry()).
		WithConversations(conversation.NewRegistry())
}
