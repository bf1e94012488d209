package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"caravan/dapr/launcher"
	"caravan/internal/clock"
	"caravan/services/notifications/adapters/vapid"
	"caravan/services/users/adapters/keyring"
)

func k8sSecretsCommand() command {
	return command{
		name:    "k8s secrets",
		summary: "make the Secrets of a cluster: tokens, keys, passwords and addresses",
		details: `
Writes k8s/secrets.yaml, which only its owner may read: the Secrets that the files in k8s/ ask for, with random values. Apply
it with kubectl apply -f k8s/secrets.yaml. What the file has already is kept; --force replaces all of it.

Broker, store and mail server are those that k8s/components/development brings into the cluster. For others give their
addresses in the environment: RABBITMQ_URL or KAFKA_BROKERS, POSTGRES_URL or REDIS_HOST and REDIS_PASSWORD, SMTP_URL as
smtp://user:password@host:port. CARAVAN_URL is the address of the shop, for the links in e-mails (default: that of a port
forward, http://127.0.0.1:8080), and PUSH_CONTACT, as mailto:address or a URL, is for the operators of push services. They
replace what the file has. A new push-private-key, as --force makes it, ends all subscriptions for push messages.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			flags.BoolVar(&c.options.k8s.force, "force", false, "replace existing secrets")
		},
		run: func(_ context.Context, c *cli, _ *flag.FlagSet) error { return c.k8sSecrets(os.Getenv) },
	}
}

// secret is a Secret of Kubernetes in the form of its manifest.
type secret struct {
	APIVersion string            `yaml:"apiVersion"`
	Kind       string            `yaml:"kind"`
	Metadata   map[string]any    `yaml:"metadata"`
	Type       string            `yaml:"type,omitempty"`
	Data       map[string]string `yaml:"data,omitempty"`
	StringData map[string]string `yaml:"stringData,omitempty"`
}

func (c *cli) k8sSecrets(getenv func(string) string) error {
	file := filepath.Join(c.root, "k8s", "secrets.yaml")
	var present []secret
	if !c.options.k8s.force {
		var err error
		if present, err = readSecrets(file); err != nil {
			return err
		}
	}
	apps, err := launcher.Apps(c.root)
	if err != nil {
		return err
	}
	set := &secretSet{secrets: present, getenv: getenv}
	if err := set.complete(apps); err != nil {
		return err
	}
	if set.changed == 0 {
		fmt.Fprintf(c.out, "%s has all %d Secrets already, and is kept. --force replaces them.\n", file, len(set.secrets))
		return os.Chmod(file, 0o600)
	}
	var text bytes.Buffer
	text.WriteString("# Secrets of a cluster, made by: go run ./dapr k8s secrets\n")
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	for _, s := range set.secrets {
		if err := encoder.Encode(s); err != nil {
			return fmt.Errorf("writing the secrets: %w", err)
		}
	}
	if err := writePrivate(file, text.Bytes()); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Wrote %d of %d Secrets to %s.\nNext: kubectl apply -f k8s/base/namespace.yaml -f k8s/secrets.yaml\n", set.changed, len(set.secrets), file)
	return nil
}

func readSecrets(file string) ([]secret, error) {
	content, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the secrets: %w", err)
	}
	var secrets []secret
	for decoder := yaml.NewDecoder(bytes.NewReader(content)); ; {
		var s secret
		err := decoder.Decode(&s)
		if errors.Is(err, io.EOF) {
			return secrets, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		secrets = append(secrets, s)
	}
}

// secretSet is the planned content of the file of secrets.
type secretSet struct {
	secrets []secret
	getenv  func(string) string
	changed int // Secrets that were added or replaced
}

// complete adds missing Secrets. Their names and keys are those that the files in k8s/ use; a test checks that.
func (s *secretSet) complete(apps []string) error {
	for _, app := range apps {
		s.need(app+"-api-token", "token", random) // the sidecar expects it from its program
		s.need(app+"-app-token", "token", random) // the program expects it from its sidecar
	}
	s.need("admin", "password", random)
	if s.find("users-keys") == nil {
		keys, err := newKeyring()
		if err != nil {
			return err
		}
		s.add("users-keys", keys)
	}
	// The component files use the same text as name and key.
	same := func(name, variable string, fallback func() string) {
		if value := s.getenv(variable); variable != "" && value != "" {
			s.set(name, name, value)
			return
		}
		s.need(name, name, fallback)
	}
	same("rabbitmq-password", "", random)
	same("postgres-password", "", random)
	same("redis-password", "REDIS_PASSWORD", random)
	same("rabbitmq-url", "RABBITMQ_URL", func() string { return "amqp://caravan:" + s.value("rabbitmq-password") + "@broker:5672/" })
	same("kafka-brokers", "KAFKA_BROKERS", func() string { return "broker:9092" })
	same("postgres-url", "POSTGRES_URL", func() string {
		return "host=store port=5432 user=caravan password=" + s.value("postgres-password") + " dbname=caravan sslmode=disable connect_timeout=10"
	})
	same("redis-host", "REDIS_HOST", func() string { return "store:6379" })
	same("shop-url", "CARAVAN_URL", func() string { return "http://127.0.0.1:8080" })
	same("unsubscribe-key", "", random)
	same("push-contact", "PUSH_CONTACT", func() string { return "mailto:admin@caravan.example" })
	if s.find("push-private-key") == nil {
		key, err := vapid.New(rand.Reader)
		if err != nil {
			return fmt.Errorf("making the key of push messages: %w", err)
		}
		s.add("push-private-key", map[string]string{"push-private-key": key.Private})
	}
	return s.mail()
}

// mail adds where the mail server is. All of it comes from one address.
func (s *secretSet) mail() error {
	address := s.getenv("SMTP_URL")
	settings := map[string]string{"host": "mail", "port": "1025"}
	if address != "" {
		var err error
		if settings, err = launcher.MailSettings(address); err != nil {
			return fmt.Errorf("SMTP_URL: %w", err)
		}
	}
	for _, part := range []string{"host", "port", "user", "password"} {
		if name := "smtp-" + part; address != "" {
			s.set(name, name, settings[part])
		} else {
			s.need(name, name, func() string { return settings[part] })
		}
	}
	return nil
}

func random() string { return strings.ToLower(rand.Text()) }

func (s *secretSet) find(name string) *secret {
	for i := range s.secrets {
		if s.secrets[i].Metadata["name"] == name {
			return &s.secrets[i]
		}
	}
	return nil
}

// value returns the value of a Secret whose key equals its name.
func (s *secretSet) value(name string) string {
	found := s.find(name)
	if decoded, err := base64.StdEncoding.DecodeString(found.Data[name]); err == nil && len(decoded) > 0 {
		return string(decoded)
	}
	return found.StringData[name]
}

// need adds a Secret with one value unless there is one with that name.
func (s *secretSet) need(name, key string, value func() string) {
	if s.find(name) == nil {
		s.add(name, map[string]string{key: value()})
	}
}

// set sets the only value of a Secret.
func (s *secretSet) set(name, key, value string) {
	switch there := s.find(name); {
	case there == nil:
		s.add(name, map[string]string{key: value})
	case there.StringData[key] != value:
		there.StringData, there.Data = map[string]string{key: value}, nil
		s.changed++
	}
}

func (s *secretSet) add(name string, values map[string]string) {
	s.secrets = append(s.secrets, secret{
		APIVersion: "v1", Kind: "Secret", Metadata: map[string]any{"name": name, "namespace": "caravan"}, StringData: values,
	})
	s.changed++
}

// newKeyring returns the files of a keyring of users. All replicas share them.
func newKeyring() (map[string]string, error) {
	folder, err := os.MkdirTemp("", "caravan-keys-")
	if err != nil {
		return nil, fmt.Errorf("making keys: %w", err)
	}
	defer os.RemoveAll(folder)
	if _, err := keyring.Open(folder, 0, rand.Reader, clock.System{}); err != nil {
		return nil, fmt.Errorf("making keys: %w", err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("making keys: %w", err)
	}
	files := map[string]string{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("making keys: %w", err)
		}
		files[entry.Name()] = string(content)
	}
	return files, nil
}
