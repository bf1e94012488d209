package infra

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// somewhere is a place with the given programs installed and the given environment.
func somewhere(t *testing.T, env map[string]string, installed ...string) Place {
	t.Helper()
	port := 20000
	return Place{
		Dir:     t.TempDir(),
		Port:    func() (int, error) { port++; return port, nil },
		Program: func(name string) string { return "/built/" + name },
		Getenv:  func(name string) string { return env[name] },
		Find: func(name string) (string, error) {
			for _, known := range installed {
				if known == name {
					return "/usr/bin/" + name, nil
				}
			}
			return "", errors.New("not found")
		},
		NoPackages: true,
	}
}

func TestAutoTakesTheBrokerAtHand(t *testing.T) {
	for name, test := range map[string]struct {
		place        Place
		kind, notice string
	}{
		"installed":  {somewhere(t, nil, "rabbitmq-server", "epmd"), "rabbitmq", ""},
		"running":    {somewhere(t, map[string]string{"RABBITMQ_URL": "amqp://elsewhere/"}), "rabbitmq", ""},
		"nothing":    {somewhere(t, nil), "kafka", "rabbitmq is not installed"},
		"no epmd":    {somewhere(t, nil, "rabbitmq-server"), "kafka", "rabbitmq is not installed"},
		"a cluster":  {somewhere(t, map[string]string{"KAFKA_BROKERS": "a:1"}), "kafka", "rabbitmq is not installed"},
		"everything": {somewhere(t, map[string]string{"KAFKA_BROKERS": "a:1"}, "rabbitmq-server", "epmd"), "rabbitmq", ""},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := Broker(Auto, test.place)
			if err != nil || server.Kind != test.kind || !strings.Contains(server.Notice, test.notice) || (server.Notice == "") != (test.notice == "") {
				t.Errorf("got %s, notice %q, %v", server.Kind, server.Notice, err)
			}
		})
	}
}

func TestServersThatRunAreUsed(t *testing.T) {
	for name, test := range map[string]struct {
		env     map[string]string
		server  func(Place) (Server, error)
		setting string
		want    string
	}{
		"rabbitmq":      {map[string]string{"RABBITMQ_URL": "amqp://u:p@h:5/"}, rabbitmq, "connectionString", "amqp://u:p@h:5/"},
		"kafka":         {map[string]string{"KAFKA_BROKERS": "a:1,b:2"}, kafka, "brokers", "a:1,b:2"},
		"postgres":      {map[string]string{"POSTGRES_URL": "postgres://h/db"}, postgres, "connectionString", "postgres://h/db"},
		"redis streams": {map[string]string{"REDIS_STREAMS_URL": "redis://:secret@h:7/3"}, redisStreams, "redisHost", "h:7"},
		"redis":         {map[string]string{"REDIS_URL": "redis://:secret@h/3"}, redis, "redisHost", "h:6379"},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := test.server(somewhere(t, test.env))
			if err != nil || len(server.Processes) != 0 || server.URL == "" {
				t.Fatalf("got %+v, %v; want a server without processes", server, err)
			}
			if got := server.Settings("orders")[test.setting]; got != test.want {
				t.Errorf("%s is %q, want %q", test.setting, got, test.want)
			}
		})
	}
}

func TestAddressOfARunningRedis(t *testing.T) {
	settings, err := runningRedis("REDIS_URL", "rediss://caravan:s%40crt@cache.example:7000/2")
	if err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{
		"redisHost": "cache.example:7000", "redisUsername": "caravan", "redisPassword": "s@crt", "redisDB": "2", "enableTLS": "true",
	} {
		if got := settings[setting]; got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	for _, bad := range []string{"", "cache.example:7000", "http://cache.example", "redis://"} {
		if _, err := runningRedis("REDIS_URL", bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestWhatIsMissingIsNamedWithItsRemedy(t *testing.T) {
	for _, test := range []struct{ what, name, want string }{
		{"broker", "rabbitmq", "apt install rabbitmq-server, or set RABBITMQ_URL"},
		{"store", "postgres", "apt install postgresql, or set POSTGRES_URL"},
		{"store", "redis", "apt install redis-server, or set REDIS_URL"},
		{"broker", "redis-streams", "apt install redis-server, or set REDIS_STREAMS_URL"},
		{"store", "shoebox", "there are sqlite, postgres, redis"},
	} {
		choose := Broker
		if test.what == "store" {
			choose = Store
		}
		if _, err := choose(test.name, somewhere(t, nil)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

func TestSurvey(t *testing.T) {
	found := map[string]Found{}
	for _, one := range Survey(somewhere(t, map[string]string{"REDIS_URL": "redis://h"}, "initdb")) {
		found[one.Name] = one
	}
	for name, want := range map[string]string{"kafka": "/built/embeddedbroker", "sqlite": "built in", "redis": "at REDIS_URL", "rabbitmq": ""} {
		if got := found[name].Path; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if found["rabbitmq"].Advice == "" || !strings.HasSuffix(found["postgres"].Path, "postgres") {
		t.Errorf("got %+v", found)
	}
}

func TestSecretsAreKept(t *testing.T) {
	dir := t.TempDir()
	first, err := Secret(dir, "store")
	if err != nil || len(first) < 32 {
		t.Fatal(first, err)
	}
	again, err := Secret(dir, "store")
	if err != nil || again != first {
		t.Errorf("got another secret: %v", err)
	}
	other, _ := Secret(dir, "broker")
	if other == first {
		t.Error("two secrets are the same")
	}
	for range 2 {
		made := 0
		key, err := SecretOf(dir, "key", func() (string, error) { made++; return "of another form", nil })
		if err != nil || key != "of another form" {
			t.Errorf("the key is %q after %d calls, %v", key, made, err)
		}
	}
	if _, err := SecretOf(dir, "none", func() (string, error) { return "", errors.New("no random numbers") }); err == nil {
		t.Error("a secret that cannot be made is kept")
	}
	info, err := os.Stat(filepath.Join(dir, "secrets", "store"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestEveryServicesSQLiteFileIsItsOwn(t *testing.T) {
	server, err := sqlite(somewhere(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	one, two := server.Settings("orders")["connectionString"], server.Settings("payments")["connectionString"]
	if one == two || !strings.Contains(one, "synchronous(FULL)") {
		t.Errorf("%q and %q", one, two)
	}
}

func TestReachable(t *testing.T) {
	open := t.TempDir()
	closed := filepath.Join(open, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if reachable(filepath.Join(closed, "data")) {
		t.Error("a folder only its owner may enter counts as reachable by all")
	}
	if !reachable("/usr/share/nothing-yet") {
		t.Error("/usr/share is not reachable")
	}
}

func TestMailServers(t *testing.T) {
	own, err := Mail("", somewhere(t, nil))
	if err != nil || len(own.Processes) != 1 || own.Processes[0].Name != MailProcess || own.Processes[0].URL != "http://127.0.0.1:20002" ||
		own.Settings("notifications")["port"] != "20001" || own.Set != "email" || strings.Join(own.Programs, " ") != "mailbox" {
		t.Errorf("got %+v, %v", own, err)
	}
	const secret = "p%40ss"
	for name, test := range map[string]struct {
		address string
		env     map[string]string
	}{
		"by option":       {"smtp://caravan:" + secret + "@mail.example:587", map[string]string{"SMTP_URL": "smtp://other:25"}},
		"by the variable": {"", map[string]string{"SMTP_URL": "smtp://caravan:" + secret + "@mail.example:587/"}},
	} {
		server, err := Mail(test.address, somewhere(t, test.env))
		if err != nil || len(server.Processes) != 0 || server.URL != "smtp://mail.example:587" || !IsMail(server.Kind) {
			t.Errorf("%s: got %+v, %v", name, server, err)
			continue
		}
		for setting, want := range map[string]string{"host": "mail.example", "port": "587", "user": "caravan", "password": "p@ss"} {
			if got := server.Settings("notifications")[setting]; got != want {
				t.Errorf("%s: %s is %q, want %q", name, setting, got, want)
			}
		}
	}
	for _, bad := range []string{
		"mail.example:25", "smtp://mail.example", "smtp://:25", "smtp://mail.example:0", "smtp://mail.example:99999", "smtps://mail.example:465",
		"http://mail.example:25", "smtp://caravan@mail.example:25", "smtp://:" + secret + "@mail.example:25", "smtp://mail.example:25/path",
		"smtp://mail.example:25?x=1", "smtp://caravan:" + secret + "@mail.example:2 5", "smtp:caravan:" + secret,
	} {
		if _, err := Mail(bad, somewhere(t, nil)); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
