package infra

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMetricsOfTheBroker: a node shows metrics if they are wanted and it has the plugin. It would not start with a plugin that it lacks.
func TestMetricsOfTheBroker(t *testing.T) {
	for name, test := range map[string]struct{ wanted, has, want bool }{
		"wanted":         {true, true, true},
		"not wanted":     {false, true, false},
		"without plugin": {true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			place := somewhere(t, nil)
			installed := t.TempDir()
			program := filepath.Join(installed, "sbin", "rabbitmq-server")
			for _, folder := range []string{"sbin", "plugins"} {
				if err := os.Mkdir(filepath.Join(installed, folder), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(program, nil, 0o700); err != nil {
				t.Fatal(err)
			}
			if test.has {
				if err := os.WriteFile(filepath.Join(installed, "plugins", metricsPlugin+"-3.10.8"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			place.Metrics = test.wanted
			place.Find = func(name string) (string, error) { return filepath.Join(installed, "sbin", "rabbitmq-server"), nil }
			server, err := rabbitmq(place)
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			home := filepath.Join(place.Dir, "data", "rabbitmq")
			settings, plugins := content(t, home, "rabbitmq.conf"), content(t, home, "enabled_plugins")
			if has := server.MetricsPort != 0; has != test.want || strings.Contains(settings, "prometheus.tcp.ip = 127.0.0.1") != test.want ||
				strings.Contains(plugins, metricsPlugin) != test.want {
				t.Errorf("port %d, plugins %s, settings %s", server.MetricsPort, plugins, settings)
			}
		})
	}
}

func content(t *testing.T, folder, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
