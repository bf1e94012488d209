package k8s

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"caravan/test/repository"
)

const root = "../.."

// folders are the folders of the repository that the tests read.
var folders = []string{"k8s", "components", "dapr"}

func TestEveryClusterStartsTheStackOfTheRunFile(t *testing.T) {
	copied := repository.Root(root).Copy(t, folders...)
	for _, v := range variants() {
		t.Run(v.String(), func(t *testing.T) {
			c, err := build(copied, v)
			if err != nil {
				t.Fatal(err)
			}
			for _, violation := range append(validate(t, c.text), violations(copied, c)...) {
				t.Error(violation)
			}
		})
	}
}

// TestEveryFolderIsProved fails when a folder is added that no test checks.
func TestEveryFolderIsProved(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join(root, "k8s", "clusters"))
	if err != nil {
		t.Fatal(err)
	}
	proved := map[string]bool{}
	for _, v := range variants() {
		folder, err := v.folder(repository.Root(root).Copy(t, "k8s/clusters"))
		if err != nil {
			t.Fatal(err)
		}
		proved[filepath.Base(folder)] = true
	}
	for _, entry := range entries {
		if !proved[entry.Name()] {
			t.Errorf("k8s/clusters/%s is none of the variants", entry.Name())
		}
	}
}

// TestServersAreSetUpAsElsewhere compares the files of RabbitMQ with those of the launcher and of compose.
func TestServersAreSetUpAsElsewhere(t *testing.T) {
	const here = "k8s/components/development/rabbitmq"
	for _, name := range []string{"rabbitmq.conf", "elect.erl"} {
		want, err := os.ReadFile(filepath.Join(root, here, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range []string{"compose", "dapr/launcher/infra"} {
			got, err := os.ReadFile(filepath.Join(root, folder, name))
			if err == nil && string(got) != string(want) {
				t.Errorf("%s/%s is not as %s/%s", here, name, folder, name)
			}
		}
	}
}

func TestSQLiteIsRefused(t *testing.T) {
	for _, production := range []bool{false, true} {
		copied := repository.Root(root).Copy(t, folders...)
		v := standard("plain", production)
		folder, err := v.folder(copied)
		if err != nil {
			t.Fatal(err)
		}
		inside, err := filepath.Rel(string(copied), filepath.Join(folder, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		copied.Replace(t, inside, "components/postgres", "components/sqlite")
		if _, err := build(copied, v); err == nil || !strings.Contains(err.Error(), "a second replica cannot share it") {
			t.Errorf("%s with SQLite: %v", v, err)
		}
	}
}

// TestPlantedFaultsAreFound makes one mistake at a time.
func TestPlantedFaultsAreFound(t *testing.T) {
	plain, dapr := standard("plain", false), standard("dapr", false)
	production := standard("plain", true)
	redis := variant{"plain", false, "rabbitmq", "redis", false}
	for name, fault := range map[string]struct {
		variant        variant
		file, old, new string
		want           string
	}{
		"a misspelt key of a probe":        {plain, "base/program.yaml", "failureThreshold", "failureTreshold", "failureTreshold"},
		"a misspelt probe":                 {plain, "base/program.yaml", "readinessProbe", "readynessProbe", "readynessProbe"},
		"a misspelt key of a policy":       {plain, "base/network.yaml", "policyTypes", "policyType", "policyType"},
		"a misspelt key of an autoscaler":  {production, "components/production/autoscalers.yaml", "minReplicas", "minimumReplicas", "minimumReplicas"},
		"a misspelt key of a component":    {dapr, "components/rabbitmq/pubsub.yaml", "initTimeout", "initTimeot", "initTimeot"},
		"the same in a ConfigMap":          {plain, "components/rabbitmq/pubsub.yaml", "initTimeout", "initTimeot", "initTimeot"},
		"a misspelt key of a subscription": {dapr, "../dapr/resources/subscriptions.yaml", "deadLetterTopic", "deadletterTopic", "deadletterTopic"},
		"a misspelt key of a resiliency":   {dapr, "../dapr/resources/resiliency.yaml", "maxRetries", "maxRetrys", "maxRetrys"},
		"a misspelt setting":               {plain, "components/rabbitmq/pubsub.yaml", "publisherConfirm", "publisherConfirms", "not as in components/"},
		"a misspelt annotation":            {dapr, "overlays/dapr/sidecar.yaml", "dapr.io/log-as-json", "dapr.io/log-json", "Dapr has no annotation dapr.io/log-json"},
		"a misspelt option":                {plain, "overlays/plain/sidecar.yaml", "--log-as-json", "--log-json", "daprd has no option --log-json"},
		"a kind that is none":              {plain, "base/orders.yaml", "kind: PodDisruptionBudget", "kind: DisruptionBudget", "DisruptionBudget"},

		"no startup probe":              {plain, "base/program.yaml", "          startupProbe:\n            httpGet: {path: /livez, port: http}\n            periodSeconds: 1\n            failureThreshold: 120\n", "", "program has no startup probe"},
		"no readiness probe":            {plain, "base/program.yaml", "          readinessProbe:\n            httpGet: {path: /readyz, port: http}\n            periodSeconds: 2\n            timeoutSeconds: 3\n", "", "program has no readiness probe"},
		"no liveness probe":             {plain, "base/program.yaml", "          livenessProbe:\n            httpGet: {path: /livez, port: http}\n            periodSeconds: 10\n            timeoutSeconds: 3\n", "", "program has no liveness probe"},
		"the wrong probe":               {plain, "base/program.yaml", "path: /readyz", "path: /livez", "readiness probe does not ask /readyz"},
		"no probe of a sidecar":         {plain, "overlays/plain/sidecar.yaml", "          readinessProbe:\n            httpGet: {path: /v1.0/healthz/outbound, port: dapr-public}\n            periodSeconds: 2\n            timeoutSeconds: 3\n", "", "daprd has no readiness probe"},
		"no probe of a server":          {redis, "components/development/redis/server.yaml", "          livenessProbe:\n            tcpSocket: {port: store}\n            periodSeconds: 10\n            timeoutSeconds: 5\n            failureThreshold: 6\n", "", "redis has no liveness probe"},
		"a grace within the drain":      {plain, "base/program.yaml", "Seconds: 45", "Seconds: 30", "shorter grace"},
		"a drain before the sidecar":    {plain, "base/program.yaml", "value: 6s", "value: 2s", "it drains after 2s"},
		"the same with the injector":    {dapr, "overlays/dapr/sidecar.yaml", "block-shutdown-duration: 3s", "block-shutdown-duration: 6s", "it drains after 6s"},
		"a gateway without its sidecar": {plain, "overlays/plain/pairs.yaml", "value: 20s", "value: 3s", "gateway: it forwards requests for 16s, its sidecar for 3s"},
		"the same with an injected one": {dapr, "overlays/dapr/pairs.yaml", "duration: 20s", "duration: 3s", "gateway: it forwards requests for 16s, its sidecar for 3s"},
		"no limit of memory":            {plain, "base/orders.yaml", "            limits: {memory: 128Mi}\n", "", "no limit of memory"},
		"no request":                    {plain, "overlays/plain/sidecar.yaml", "cpu: 50m, ", "", "no request of processor time"},
		"no request with injector":      {dapr, "overlays/dapr/sidecar.yaml", "        dapr.io/sidecar-cpu-request: 50m\n", "", "its sidecar has no cpu-request"},
		"no room under the limit":       {plain, "base/orders.yaml", "GOMEMLIMIT, value: 100MiB", "GOMEMLIMIT, value: 128MiB", "no GOMEMLIMIT below"},
		"capabilities":                  {plain, "base/program.yaml", "            capabilities: {drop: [ALL]}\n", "", "restricted pod security refuses it"},
		"capabilities of a server":      {plain, "components/development/rabbitmq/server.yaml", "            capabilities: {drop: [ALL]}\n", "", "broker: restricted pod security refuses it"},
		"the root user":                 {plain, "base/program.yaml", "runAsUser: 65532", "runAsUser: 0", "restricted pod security refuses it"},
		"a root that can be written":    {plain, "base/program.yaml", "            readOnlyRootFilesystem: true\n", "", "a root that it can write to"},
		"no restriction":                {plain, "base/namespace.yaml", "enforce: restricted", "enforce: baseline", "restricted pod security"},
		"a token of the API server":     {plain, "base/program.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "a token of its service account"},
		"the same by the account":       {plain, "base/orders.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "no service account of its own"},
		"a shared service account":      {plain, "base/orders.yaml", "serviceAccountName: orders", "serviceAccountName: users", "no service account of its own"},
		"links of services":             {plain, "base/program.yaml", "      enableServiceLinks: false\n", "", "addresses of Services"},
		"keys that others may read":     {plain, "base/users.yaml", "0440", "0444", "that others may read"},
		"keys of each replica":          {plain, "base/users.yaml", "secret: {secretName: users-keys, defaultMode: 0440}", "emptyDir: {}", "keys of its own"},
		"no budget":                     {plain, "base/orders.yaml", "selector:\n    matchLabels: {app.kubernetes.io/name: orders}\n---\n# Its", "selector:\n    matchLabels: {app.kubernetes.io/name: order}\n---\n# Its", "no PodDisruptionBudget"},
		"no spread":                     {plain, "base/program.yaml", "topologyKey: topology.kubernetes.io/zone", "topologyKey: kubernetes.io/hostname2", "no spread"},
		"one replica":                   {production, "components/production/autoscalers.yaml", "minReplicas: 2", "minReplicas: 1", "fewer than two replicas"},
		"no autoscaler":                 {production, "components/production/autoscalers.yaml", "kind: Deployment, name: orders", "kind: Deployment, name: order", "orders: production has fewer than two"},
		"replicas beside autoscalers":   {production, "base/orders.yaml", "spec:\n  selector:", "spec:\n  replicas: 2\n  selector:", "against its autoscaler"},
		"a server in production":        {production, "clusters/plain-production/kustomization.yaml", "components/production", "components/production\n  - ../../components/development", "a server of its own"},
		"an image without a tag":        {plain, "base/orders.yaml", "caravan/orders:dev", "caravan/orders:latest", "no tag"},
		"another's image":               {plain, "base/orders.yaml", "caravan/orders:dev", "caravan/users:dev", "orders: it has no container with its program"},

		"a wrong port":                {plain, "base/orders.yaml", `"7003"`, `"7004"`, "orders: APP_PORT"},
		"a wrong container port":      {plain, "base/orders.yaml", "containerPort: 7003", "containerPort: 7004", "orders: its container has the ports"},
		"a wrong port of a sidecar":   {plain, "overlays/plain/pairs.yaml", `"7003"`, `"7004"`, "orders: --app-port"},
		"a wrong injected port":       {dapr, "overlays/dapr/pairs.yaml", `"7003"`, `"7004"`, "orders: dapr.io/app-port"},
		"a changed port of dapr.yaml": {plain, "../dapr/dapr.yaml", "appPort: 7003", "appPort: 7103", "orders: APP_PORT"},
		"a new app of dapr.yaml":      {plain, "../dapr/dapr.yaml", "  - appID: users", "  - appID: a-new-app\n    appPort: 7009\n  - appID: users", "app a-new-app of dapr.yaml has no Deployment"},
		"a wrong app id":              {plain, "overlays/plain/pairs.yaml", "APP_ID, value: orders", "APP_ID, value: order", `orders: --app-id is "order"`},
		"a wrong injected app id":     {dapr, "overlays/dapr/pairs.yaml", "app-id: orders", "app-id: order", `orders: dapr.io/app-id is "order"`},
		"a changed protocol":          {dapr, "../dapr/dapr.yaml", "appProtocol: http", "appProtocol: h2c", "dapr.io/app-protocol"},
		"another buffer":              {plain, "overlays/plain/sidecar.yaml", "--read-buffer-size=32Ki", "--read-buffer-size=4Ki", "--read-buffer-size"},
		"an API for everybody":        {plain, "overlays/plain/sidecar.yaml", "--dapr-listen-addresses=127.0.0.1", "--dapr-listen-addresses=0.0.0.0", "--dapr-listen-addresses"},
		"the same injected":           {dapr, "overlays/dapr/sidecar.yaml", "listen-addresses: 127.0.0.1", "listen-addresses: 0.0.0.0", "sidecar-listen-addresses"},
		"a token in an annotation":    {dapr, "overlays/dapr/sidecar.yaml", "GOMEMLIMIT=200MiB", "DAPR_API_TOKEN=abc", "may hold a token"},
		"a shared token":              {plain, "base/orders.yaml", "name: orders-api-token", "name: users-api-token", "orders: its DAPR_API_TOKEN is not its sidecar's"},
		"a shared injected token":     {dapr, "overlays/dapr/pairs.yaml", "orders-app-token", "users-app-token", "orders: its APP_API_TOKEN is not its sidecar's"},
		"a sidecar nobody finds":      {plain, "overlays/plain/services.yaml", "name: orders-dapr", "name: order-dapr", "orders: its sidecar's Service"},
		"another's sidecar":           {plain, "overlays/plain/services.yaml", "app.kubernetes.io/name: orders", "app.kubernetes.io/name: users", "orders: its sidecar's Service"},
		"calls to one replica":        {production, "components/production/kustomization.yaml", "value: None", "value: \"\"", "orders: DNS gives the addresses of all its replicas: false"},
		"a pod nobody knows yet":      {plain, "base/program.yaml", "minReadySeconds: 10", "minReadySeconds: 3", "an old pod leaves before callers know"},
		"another name resolution":     {plain, "overlays/plain/config.yaml", "-dapr:50002", "-daprd:50002", "its name resolution"},
		"the same with Dapr":          {dapr, "overlays/dapr/config.yaml", "-dapr:50002", "-daprd:50002", "its name resolution"},
		"a ConfigMap without a hash":  {plain, "overlays/plain/kustomization.yaml", "configMapGenerator:", "generatorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator:", "not named by its hash"},

		"a changed component":        {plain, "../components/rabbitmq/pubsub.yaml", "10s", "20s", "Component pubsub is not as in components/"},
		"a changed one of streams":   {plain, "components/rabbitmq/live.yaml", "10s", "20s", "notifications: Component live is not as in components/"},
		"no component of streams":    {plain, "components/kustomization.yaml", "rabbitmq/pubsub.yaml, rabbitmq/live.yaml", "rabbitmq/pubsub.yaml", "notifications: it lacks the Component live"},
		"streams of another app":     {dapr, "components/rabbitmq/live.yaml", "[notifications]", "[orders]", "notifications: it lacks the Component live"},
		"streams of all apps":        {dapr, "components/rabbitmq/live.yaml", "[notifications]", "[notifications, orders]", "orders: Component live is not as in components/"},
		"an address of streams":      {plain, "components/rabbitmq/live.yaml", "secretKeyRef: {name: rabbitmq-url, key: rabbitmq-url}", "value: amqp://broker", "connectionString of its component live is not from a Secret"},
		"a changed one of e-mails":   {plain, "components/email/smtp.yaml", "shop@", "store@", "notifications: Component email is not as in components/"},
		"no component of e-mails":    {dapr, "overlays/dapr/kustomization.yaml", "  - ../../components/email\n", "", "notifications: it lacks the Component email"},
		"an address of e-mails":      {plain, "components/email/smtp.yaml", "secretKeyRef: {name: smtp-host, key: smtp-host}", "value: mail", "host of its component email is not from a Secret"},
		"no variable of e-mails":     {plain, "overlays/plain/email.yaml", "- name: smtp-password", "- name: smtp-passwords", "no variable smtp-password"},
		"a changed resource":         {plain, "overlays/plain/kustomization.yaml", "[resources/secretstore.yaml]", "[resources/secretstore.yaml, resiliency.yaml=resources/secretstore.yaml]", "users: it lacks the Resiliency services"},
		"a changed subscription":     {dapr, "overlays/dapr/kustomization.yaml", "patches:\n", "patches:\n  - target: {kind: Subscription, name: notifications-orders}\n    patch: |\n      - {op: replace, path: /spec/topic, value: users}\n", "not as in components/ or dapr/"},
		"a missing resource":         {dapr, "../dapr/resources/kustomization.yaml", "  - resiliency-orders.yaml\n", "", "orders: it lacks the Resiliency orders"},
		"a missing file":             {plain, "../dapr/kustomization.yaml", "      - resources/resiliency-orders.yaml\n", "", "orders: it lacks the Resiliency orders"},
		"a changed configuration":    {plain, "../dapr/config.yaml", `samplingRate: "1"`, `samplingRate: "0.5"`, "differs from dapr/config.yaml"},
		"an open secrets API":        {dapr, "overlays/dapr/config.yaml", "      - {name: secrets, version: v1.0, protocol: http}\n", "", "differs from dapr/config.yaml"},
		"another component":          {plain, "components/rabbitmq/kustomization.yaml", "configMap: {name: broker-rabbitmq}", "configMap: {name: broker-kafka}", "its component pubsub is pubsub.kafka"},
		"an address in a component":  {plain, "components/rabbitmq/pubsub.yaml", "secretKeyRef: {name: rabbitmq-url, key: rabbitmq-url}", "value: amqp://broker", "connectionString of its component pubsub is not from a Secret"},
		"the same as a resource":     {dapr, "components/postgres/store.yaml", "secretKeyRef: {name: postgres-url, key: postgres-url}", "value: host=store", "connectionString of its component store is not from a Secret"},
		"no variable for an address": {redis, "components/redis/kustomization.yaml", "name: redis-host, key: redis-host", "name: redis-hosts, key: redis-host", "no variable redis-host"},

		"no default policy":                {plain, "base/network.yaml", "  policyTypes: [Ingress, Egress]", "  policyTypes: [Ingress]", "denies everything by default"},
		"a caller too many":                {plain, "base/payments.yaml", "[gateway, orders, notifications]", "[gateway, orders, notifications, products]", "products may enter payments on port 50002: true"},
		"a caller too few":                 {plain, "base/payments.yaml", "[gateway, orders, notifications]", "[gateway, notifications]", "orders may enter payments on port 50002: false"},
		"calls from other places":          {plain, "base/payments.yaml", "    - from:\n        - podSelector:\n            matchExpressions: [{key: app.kubernetes.io/name, operator: In, values: [gateway, orders, notifications]}]\n      ports:", "    - ports:", "a pod of another namespace may enter payments on port 50002: true"},
		"the health port for all":          {plain, "base/orders.yaml", "ports: [{port: 50002}]", "ports: [{port: 50002}, {port: 3501}]", "may enter orders on port 3501: true"},
		"all ports for callers":            {plain, "base/orders.yaml", "      ports: [{port: 50002}]\n", "", "may enter orders on port 7003: true"},
		"a way out":                        {plain, "base/network.yaml", "      ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]", "    - ports: [{port: 443}]", "reaches a server outside on port 443: true"},
		"e-mails of all programs":          {plain, "base/network.yaml", "matchLabels: {app.kubernetes.io/name: notifications}", "matchLabels: {app.kubernetes.io/part-of: caravan}", "orders reaches a server outside on port 587: true"},
		"a key in the file":                {plain, "components/push/settings.yaml", "valueFrom: {secretKeyRef: {name: push-private-key, key: push-private-key}}", "value: AQEB", "CARAVAN_PUSH_PRIVATE_KEY"},
		"no contact of push services":      {dapr, "components/push/settings.yaml", "name: push-contact, key: push-contact", "name: admin, key: password", "CARAVAN_PUSH_CONTACT"},
		"push to neighbours":               {plain, "components/push/network.yaml", "192.168.0.0/16", "192.168.7.0/24", "notifications reaches a neighbour on port 443: true"},
		"push to the cloud's metadata":     {dapr, "components/push/network.yaml", "169.254.0.0/16, ", "", "notifications reaches the metadata of the cloud on port 443: true"},
		"push to neighbours over IPv6":     {plain, "components/push/network.yaml", `"fc00::/7", `, "", "notifications reaches a neighbour over IPv6 on port 443: true"},
		"push without a way":               {plain, "components/push/kustomization.yaml", "resources: [network.yaml]\n", "", "notifications reaches a server outside on port 443: false"},
		"push of all programs":             {plain, "components/push/network.yaml", "app.kubernetes.io/name: notifications", "app.kubernetes.io/part-of: caravan", "orders reaches a server outside on port 443: true"},
		"the page for everybody":           {plain, "components/development/mail/server.yaml", "ports: [{port: 1025}]", "ports: [{port: 1025}, {port: 8025}]", "notifications may enter mail on port 8025: true"},
		"the store for the gateway":        {plain, "components/postgres/network.yaml", "      - {key: app.kubernetes.io/name, operator: NotIn, values: [gateway]}\n", "", "gateway reaches a server outside on port 5432: true"},
		"the store for everybody":          {plain, "components/development/postgres/server.yaml", "        - podSelector:\n            matchExpressions:\n              - {key: app.kubernetes.io/part-of, operator: In, values: [caravan]}\n              - {key: app.kubernetes.io/name, operator: NotIn, values: [gateway]}\n", "        - namespaceSelector: {}\n", "a pod of another namespace may enter store on port 5432: true"},
		"a caller too many by certificate": {dapr, "overlays/dapr/callers.yaml", "- {appId: gateway", "- {appId: users, namespace: caravan, trustDomain: public, defaultAction: allow}\n      - {appId: gateway", "users: its sidecar takes calls of"},
		"another who gets addresses":       {dapr, "overlays/dapr/callers.yaml", "{name: /internal/contacts, httpVerb: [\"*\"], action: deny}, ", "", "users: gateway may call /internal/contacts"},
		"another who learns who is staff":  {dapr, "overlays/dapr/callers.yaml", ", {name: /internal/staff, httpVerb: [\"*\"], action: deny}", "", "users: gateway may call /internal/staff"},
		"all callers by certificate":       {dapr, "overlays/dapr/callers.yaml", "defaultAction: deny", "defaultAction: allow", "its sidecar takes all calls"},
		"another's Configuration":          {dapr, "overlays/dapr/pairs.yaml", "dapr.io/config: orders", "dapr.io/config: users", "orders: dapr.io/config"},
		"spans to nobody":                  {observed("plain"), "components/observe/program.yaml", "collector.caravan-observe", "collector", "orders: its program sends spans to"},
		"spans to nobody of a sidecar":     {observed("plain"), "components/observe/sidecar.yaml", "$(POD_NAME)-daprd", "$(POD_NAME)", "orders: its sidecar sends spans to"},
		"spans of an injected one":         {observed("dapr"), "components/observe/kustomization.yaml", "OTEL_SERVICE_NAME=orders-daprd", "OTEL_SERVICE_NAME=orders", "orders: its sidecar sends spans to"},
		"no way to the collectors":         {observed("plain"), "components/observe/kustomization.yaml", "resources: [network.yaml]\n", "", "orders reaches a collector on port 4318: false"},
		"a way to the log store":           {observed("plain"), "components/observe/network.yaml", "          podSelector:\n            matchLabels: {app.kubernetes.io/name: collector}\n", "", "orders reaches the log store on port 4318: true"},
		"no way to Dapr":                   {dapr, "overlays/dapr/network.yaml", "{port: 50001}, ", "", "reaches Dapr's control plane on port 50001: false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			copied := repository.Root(root).Copy(t, folders...)
			copied.Replace(t, filepath.Join("k8s", fault.file), fault.old, fault.new)
			c, err := build(copied, fault.variant)
			found := []string{}
			if err != nil {
				found = append(found, err.Error())
			} else {
				found = append(validate(t, c.text), violations(copied, c)...)
			}
			if !strings.Contains(strings.Join(found, "\n"), fault.want) {
				t.Errorf("it was not found; reported was:\n%s", strings.Join(found, "\n"))
			}
		})
	}
}
