package scaffold

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// place is a file outside of the service's folder that has to name the service.
type place struct {
	file string // "*" stands for any folder
	edit func(s *service, content string) (string, error)
}

// places are all of them. What a place says of a service it mostly says of the model too, so it is copied from there.
func places() []place {
	var all []place
	for _, file := range []string{
		"components/kafka/pubsub.yaml", "components/rabbitmq/pubsub.yaml", "components/redis-streams/pubsub.yaml",
		"components/postgres/store.yaml", "components/redis/store.yaml",
		"compose/components/kafka/pubsub.yaml", "compose/components/rabbitmq/pubsub.yaml",
		"compose/components/postgres/store.yaml", "compose/components/redis/store.yaml",
		"k8s/components/kafka/pubsub.yaml", "k8s/components/rabbitmq/pubsub.yaml",
		"k8s/components/postgres/store.yaml", "k8s/components/redis/store.yaml",
	} {
		all = append(all, place{file, scoped})
	}
	return append(all, []place{
		{"dapr/dapr.yaml", steps(blocks("  - appID: "+model, ""), withoutMail)},
		{"dapr/resources/subscriptions.yaml", subscriptions},
		{"dapr/resources/resiliency.yaml", steps(scoped, target("{timeout: call}"))},
		{"dapr/resources/resiliency-orders.yaml", target("{timeout: call, retry: none}")},
		{"dapr/resources/resiliency-gateway.yaml", target("{timeout: call, retry: none}")},

		{"Dockerfile", stage},
		{"compose/compose.yaml", steps(
			blocks("  "+model+":", "  "+model+"-daprd:"), withoutLive, withoutMails, blocks("      "+model+": {condition: service_healthy}", ""),
			blocks("  "+model+": {internal: true}", ""), blocks("  "+model+"-store: {file: ./components/postgres/store.yaml}", ""),
		)},
		{"compose/sqlite.yaml", steps(
			blocks("  "+model+"-daprd:", ""), blocks("  "+model+"-data:", ""),
			blocks("  "+model+"-store: {file: ../components/sqlite/"+model+"/store.yaml}", ""),
		)},
		{"compose/redis.yaml", blocks("  "+model+"-store: {file: ./components/redis/store.yaml}", "")},
		{"compose/replicas.yaml", steps(
			blocks("  "+model+"-2:", "  "+model+"-2-daprd:"), blocks("  "+model+"-2: {internal: true}", ""),
		)},
		{"compose/observe.yaml", steps(blocks("  "+model+":", "  "+model+"-daprd:"), listed("    networks: [logs, backbone, ", "%s"))},
		{"compose/observe-replicas.yaml", steps(blocks("  "+model+"-2:", "  "+model+"-2-daprd:"), listed("    networks: [", "%s-2"))},
		{"compose/kafka-embedded.yaml", topics},

		{"k8s/base/kustomization.yaml", blocks("  - "+model+".yaml", "")},
		{"k8s/base/users.yaml", func(s *service, content string) (string, error) { return allowed(content, s.Name) }},
		{"k8s/components/development/kafka/server.yaml", topics},
		{"k8s/components/observe/kustomization.yaml", blocks("  - target: {kind: Deployment, name: "+model+`, labelSelector: "!caravan/sidecar"}`, "")},
		{"k8s/components/production/autoscalers.yaml", document("metadata: {name: " + model + "}")},
		{"k8s/overlays/dapr/callers.yaml", steps(calls("users"), document("metadata: {name: "+model+"}"))},
		{"k8s/overlays/dapr/pairs.yaml", document("metadata: {name: " + model + "}")},
		{"k8s/overlays/plain/pairs.yaml", document("metadata: {name: " + model + "}")},
		{"k8s/overlays/plain/services.yaml", document("metadata: {name: " + model + "-dapr}")},

		{"gateway/openapi.yaml", steps(paths, schemas)},
		{"services/users/contract/permissions.go", permission},
		{"services/orders/*/others.go", audited},
		{"test/apicheck/agree_test.go", built},
		{"test/sim/program.go", steps(built, simulated)},
	}...)
}

// copies are files of the model that a service has of its own, by where they are for the model.
var copies = []string{"components/sqlite/" + model + "/store.yaml", "k8s/base/" + model + ".yaml"}

// edit is the change of one file.
type edit = func(s *service, content string) (string, error)

// steps makes one edit of several.
func steps(edits ...edit) edit {
	return func(s *service, content string) (string, error) {
		var err error
		for _, e := range edits {
			if content, err = e(s, content); err != nil {
				return "", err
			}
		}
		return content, nil
	}
}

// blocks copies blocks of the model, from that of the line first to that of the line last.
func blocks(first, last string) edit {
	return func(s *service, content string) (string, error) {
		if last == "" {
			last = first
		}
		return repeatBlocks(content, first, last, s.like)
	}
}

// document copies the document of the model that has the line.
func document(line string) edit {
	return func(s *service, content string) (string, error) { return repeatDocument(content, line, s.like) }
}

// listed adds the service, in a format, to a list in one line.
func listed(prefix, format string) edit {
	return func(s *service, content string) (string, error) {
		return inList(content, prefix, fmt.Sprintf(format, s.Name))
	}
}

// scoped adds the service to the apps that load a resource.
func scoped(s *service, content string) (string, error) { return inList(content, "scopes: [", s.Name) }

// withoutMail takes the output binding for e-mails, which only the model has, out of the copied app.
func withoutMail(s *service, content string) (string, error) {
	own := "./components/sqlite/" + s.Name
	return strings.Replace(content, own+", ./components/email]", own+"]", 1), nil
}

// withoutMails takes the settings and the component for e-mails, which only the model has, out of the copied program and sidecar.
func withoutMails(s *service, content string) (string, error) {
	at, err := lineOf(content, "  "+s.Name+":")
	if err != nil {
		return "", err
	}
	daprd, err := lineOf(content, "  "+s.Name+"-daprd:")
	if err != nil {
		return "", err
	}
	end := blockEnd(content, daprd)
	own := regexp.MustCompile(`(?m)^ +(CARAVAN_EMAIL_|SMTP_|- \{source: email,).*\n`).ReplaceAllString(content[at:end], "")
	return content[:at] + own + content[end:], nil
}

// withoutLive takes the component for event streams, which only the model has, out of the copied sidecar.
func withoutLive(s *service, content string) (string, error) {
	const live = "      - {source: live, target: /resources/live.yaml}\n"
	at, err := lineOf(content, "  "+s.Name+"-daprd:")
	if err != nil {
		return "", err
	}
	end := blockEnd(content, at)
	if strings.Count(content[at:end], live) != 1 {
		return "", fmt.Errorf("the sidecar of %s is not as that of %s", s.Name, model)
	}
	return content[:at] + strings.Replace(content[at:end], live, "", 1) + content[end:], nil
}

// target says what the sidecars of callers do about calls of the service.
func target(policy string) edit {
	return func(s *service, content string) (string, error) {
		return appendTo(content, "    apps:", "      "+s.Name+": "+policy+"\n")
	}
}

// subscriptions are those of the topic of users, and of the service's dead letters.
func subscriptions(s *service, content string) (string, error) {
	for _, line := range []string{"  name: " + model + "-users", "  name: " + model + "-dead"} {
		found, err := documentWith(content, line)
		if err != nil {
			return "", err
		}
		content += separator + s.like(found)
	}
	return content, nil
}

// topics adds the topics of the service to those that a broker of Kafka's protocol starts with.
func topics(s *service, content string) (string, error) {
	flag := regexp.MustCompile(`-topics=[a-z0-9.,]+`)
	if len(flag.FindAllString(content, -1)) != 1 {
		return "", fmt.Errorf("it has not one flag -topics")
	}
	return flag.ReplaceAllString(content, "${0},"+s.Name+","+s.Name+".dead"), nil
}

// stage is the image of the service.
func stage(s *service, content string) (string, error) {
	at, err := lineOf(content, "FROM base AS "+model)
	if err != nil {
		return "", err
	}
	stage, rest, found := strings.Cut(content[at:], "\n\n")
	if !found {
		return "", fmt.Errorf("nothing follows the stage %s", model)
	}
	return content[:at] + stage + "\n\n" + s.like(stage) + "\n\n" + rest, nil
}

// calls lets the service call another one: users for the keys of access tokens, a producer for its feed.
func calls(other string) edit {
	return func(s *service, content string) (string, error) { return accepted(content, other, s.Name) }
}

// deadLetters is where staff reach the dead letters of the model.
const deadLetters = "/v1/ops/dead-letters"

// ownDeadLetters changes a part of a file about the dead letters of the model into one about those of the service.
func (s *service) ownDeadLetters(part string) string {
	part = strings.ReplaceAll(s.like(part), deadLetters, "/v1/ops/"+s.Name+"/dead-letters")
	return regexp.MustCompile(`operationId: \w+`).ReplaceAllString(part, "${0}Of"+s.Title)
}

// paths adds the operations of the service, those of its dead letters, and their tag.
func paths(s *service, content string) (string, error) {
	text, err := render("service/paths.yaml.tmpl", s)
	if err != nil {
		return "", err
	}
	if content, err = before(content, "  /v1/ops/orders:", text); err != nil {
		return "", err
	}
	tag := fmt.Sprintf("  - { name: %s, description: \"Entries of users\", x-route: { app: %s } }\n", s.Name, s.Name)
	if content, err = before(content, `  - { name: operations, description: "What staff sees and repairs" }`, tag); err != nil {
		return "", err
	}
	headers := regexp.MustCompile(`(?m)^  `+deadLetters+`.*:\n`).FindAllStringIndex(content, -1)
	if headers == nil {
		return "", fmt.Errorf("it has no operations of %s", deadLetters)
	}
	first, last := headers[0][0], blockEnd(content, headers[len(headers)-1][0])
	return content[:last] + s.ownDeadLetters(content[first:last]) + content[last:], nil
}

// schemas adds what the operations of the service answer with.
func schemas(s *service, content string) (string, error) {
	text, err := render("service/schemas.yaml.tmpl", s)
	if err != nil {
		return "", err
	}
	at := regexp.MustCompile(`(?m)^    Reason: `).FindStringIndex(content)
	if at == nil {
		return "", fmt.Errorf("it has no schema Reason")
	}
	return content[:at[0]] + text + "\n" + content[at[0]:], nil
}

// permission adds the permission of the service's writes, which every customer has.
func permission(s *service, content string) (string, error) {
	name := "Permission" + s.Title + "Write"
	catalog := "\tPermissionCatalogWrite"
	at := strings.Index(content, catalog)
	customer := regexp.MustCompile(`(case RoleCustomer:\n\t\treturn \[\]string\{[^}]*)\}`)
	if at < 0 || !customer.MatchString(content) {
		return "", fmt.Errorf("it has no permissions of a customer")
	}
	line := fmt.Sprintf("\t%s = %q // create entries of %s\n", name, s.Name+":write", s.Name)
	return formatted(customer.ReplaceAllString(content[:at]+line+content[at:], "${1}, "+name+"}"))
}

// audited has the audit of the whole system ask the service.
func audited(s *service, content string) (string, error) {
	const open = "return map[string]string{"
	if strings.Count(content, open) != 1 {
		return "", fmt.Errorf("it does not list services")
	}
	content = imported(content, s.Name, "caravan/services/"+s.Name+"/contract")
	return formatted(strings.Replace(content, open, fmt.Sprintf("%s\n\t\t%s.App: %s.PathAudit,\n", open, s.Name, s.Name), 1))
}

// built has a test build the service.
func built(s *service, content string) (string, error) {
	entry := fmt.Sprintf("%q: %s.Build", model, model)
	if strings.Count(content, entry) != 1 {
		return "", fmt.Errorf("it does not list services")
	}
	content = imported(content, s.Name, "caravan/services/"+s.Name+"/assembly")
	return formatted(strings.Replace(content, entry, entry+", "+s.like(entry), 1))
}

// simulated has the simulation start the service, whose audit orders asks for.
func simulated(s *service, content string) (string, error) {
	list := regexp.MustCompile(`(var apps = \[\]string\{[^}]*)\}`)
	if !list.MatchString(content) {
		return "", fmt.Errorf("it does not list apps")
	}
	return list.ReplaceAllString(content, "${1}, \""+s.Name+"\"}"), nil
}

// locate finds the file of a place.
func (p place) locate(root string) (string, error) {
	found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(p.file)))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("there is not one file %s", p.file)
	}
	inside, err := filepath.Rel(root, found[0])
	return filepath.ToSlash(inside), err
}
