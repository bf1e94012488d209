package service

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type ownSettings struct {
	Keys struct {
		Dir string `mapstructure:"dir" default:"keys" help:"where the signing keys are" validate:"required"`
	} `mapstructure:"keys"`
	Bootstrap struct {
		Email    string `mapstructure:"email" validate:"omitempty,email"`
		Password string `mapstructure:"password" secret:"true"`
	} `mapstructure:"bootstrap"`
	Attempts int               `mapstructure:"attempts" default:"5" validate:"min=1"`
	Every    time.Duration     `mapstructure:"every" default:"1m" validate:"min=1s"`
	Hosts    []string          `mapstructure:"hosts" default:"a,b"`
	Labels   map[string]string `mapstructure:"labels"`
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load reads the configuration like a program, with both sections.
func load(t *testing.T, file string, environ []string, flags ...string) (Settings, ownSettings, error) {
	t.Helper()
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		t.Setenv(name, value)
	}
	args, err := parseArguments(flags)
	if err != nil {
		return Settings{}, ownSettings{}, err
	}
	args.file = file
	cfg, err := loadConfig(args, environ)
	if err != nil {
		return Settings{}, ownSettings{}, err
	}
	var (
		settings Settings
		own      ownSettings
	)
	err = errors.Join(cfg.configure(&settings), cfg.configure(&own), cfg.checkUnknown())
	return settings, own, err
}

func TestAFlagWinsOverTheEnvironmentOverTheFileOverTheDefault(t *testing.T) {
	file := writeFile(t, "feed:\n  pull_interval: 1s\n  settle: 2s\n  bucket: 3s\nkeys:\n  dir: from-file\nlabels:\n  team: shop\n")
	settings, own, err := load(t, file,
		[]string{"CARAVAN_FEED_SETTLE=20s", "CARAVAN_FEED_BUCKET=30s", "CARAVAN_HOSTS=x,y,z", "APP_PORT=7001", "DAPR_API_TOKEN=s3cret"},
		"--feed.bucket=300s", "--attempts", "9")
	if err != nil {
		t.Fatal(err)
	}
	if got := settings.Feed; got.PullInterval != time.Second || got.Settle != 20*time.Second || got.Bucket != 300*time.Second {
		t.Errorf("feed settings are %+v", got)
	}
	if settings.App.Port != 7001 || settings.Dapr.Token != "s3cret" || settings.App.Host != "127.0.0.1" {
		t.Errorf("settings are %+v", settings)
	}
	if own.Keys.Dir != "from-file" || own.Attempts != 9 || own.Every != time.Minute || strings.Join(own.Hosts, " ") != "x y z" || own.Labels["team"] != "shop" {
		t.Errorf("own settings are %+v", own)
	}
}

func TestAWrongConfigurationIsRefusedByTheNameOfTheKey(t *testing.T) {
	tests := map[string]struct {
		file    string
		environ []string
		flags   []string
		want    []string
	}{
		"unknown key in the file":      {file: "feed:\n  pull_intervall: 1s\n", want: []string{"feed.pull_intervall", "the nearest is feed.pull_interval"}},
		"unknown section in the file":  {file: "feeds:\n  settle: 1s\n", want: []string{"feeds.settle", "the nearest is feed.settle"}},
		"unknown variable":             {environ: []string{"CARAVAN_KEY_DIR=x"}, want: []string{"CARAVAN_KEY_DIR", "the nearest is CARAVAN_KEYS_DIR"}},
		"unknown flag":                 {flags: []string{"--log.levle=debug"}, want: []string{"--log.levle", "the nearest is --log.level"}},
		"not a flag":                   {flags: []string{"serve"}, want: []string{`"serve" is not a flag`}},
		"flag without a value":         {flags: []string{"--log.level"}, want: []string{"--log.level needs a value"}},
		"rule of the chassis":          {environ: []string{"CARAVAN_LOG_LEVEL=loud"}, want: []string{"log.level (CARAVAN_LOG_LEVEL)", "must be one of debug, info, warn, error"}},
		"rule of the program":          {file: "attempts: 0\nevery: 1ms\n", want: []string{"attempts (CARAVAN_ATTEMPTS)", "at least 1", "every (CARAVAN_EVERY)", "at least 1s"}},
		"not a number":                 {environ: []string{"CARAVAN_APP_PORT=http"}, want: []string{"app.port"}},
		"not a duration":               {file: "feed:\n  settle: soon\n", want: []string{"feed.settle"}},
		"a printed secret read again":  {file: "bootstrap:\n  password: '********'\n", want: []string{"bootstrap.password"}},
		"a key written twice":          {file: "attempts: 1\nattempts: 2\n", want: []string{"attempts"}},
		"a value where a section goes": {file: "feed: 3\n", want: []string{"feed"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file := ""
			if test.file != "" {
				file = writeFile(t, test.file)
			}
			_, _, err := load(t, file, test.environ, test.flags...)
			if err == nil {
				t.Fatal("it was accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
}

func TestVariablesThatKubernetesInjectsAreNotOurs(t *testing.T) {
	_, _, err := load(t, "", []string{
		"CARAVAN_ORDERS_SERVICE_HOST=10.0.0.1", "CARAVAN_ORDERS_SERVICE_PORT=80", "CARAVAN_ORDERS_SERVICE_PORT_HTTP=80",
		"CARAVAN_ORDERS_PORT=tcp://10.0.0.1:80", "CARAVAN_ORDERS_PORT_80_TCP_ADDR=10.0.0.1", "OTHER_PROGRAM=1",
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestVariablesOfOtherProgramsAreIgnored(t *testing.T) {
	if _, _, err := load(t, "", []string{"CARAVAN_LIMIT_ENABLED=false", "CARAVAN_SAGA_STEP_TIMEOUT=9s", "CARAVAN_ROUTES=x.yaml"}); err != nil {
		t.Error(err)
	}
	for _, own := range []string{"CARAVAN_BOOTSTRAP_PASWORD", "CARAVAN_LIMITS_ENABLED", "CARAVAN_SAGASTEP"} {
		if _, _, err := load(t, "", []string{own + "=x"}); err == nil || !strings.Contains(err.Error(), own) {
			t.Errorf("%s: the error is %v", own, err)
		}
	}
}

// TestEverySectionOfAProgramIsKnownToTheOthers reads the settings of each program from its source.
func TestEverySectionOfAProgramIsKnownToTheOthers(t *testing.T) {
	files, err := filepath.Glob("../../services/*/assembly/assembly.go")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %v, %v", files, err)
	}
	sections := map[string]bool{}
	made := "../../dapr/scaffold/templates/service/assembly/assembly.go.tmpl" // a new service has these
	for _, file := range append(files, "../../gateway/settings.go", made) {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, bytes.ReplaceAll(source, []byte("<%.Name%>"), []byte("name")), 0)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		ast.Inspect(parsed, func(node ast.Node) bool {
			declared, ok := node.(*ast.TypeSpec)
			if !ok || declared.Name.Name != "settings" {
				return true
			}
			for _, field := range declared.Type.(*ast.StructType).Fields.List {
				found = true
				sections[reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("mapstructure")] = true
			}
			return false
		})
		if !found {
			t.Errorf("%s: no settings were found", file)
		}
	}
	if got := slices.Sorted(maps.Keys(sections)); !slices.Equal(got, otherPrograms) {
		t.Errorf("the settings of the programs have the sections %q, and otherPrograms in internal/service/config.go has %q; it must list the same, sorted", got, otherPrograms)
	}
}

func TestASecretIsNeverPartOfAnError(t *testing.T) {
	type wrong struct {
		Password string `mapstructure:"password" secret:"true" validate:"min=20"`
	}
	t.Setenv("CARAVAN_PASSWORD", "hunter2")
	cfg, err := loadConfig(arguments{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.configure(&wrong{}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error is %v", err)
	}
}

func TestOneKeyHasOneOwner(t *testing.T) {
	cfg, err := loadConfig(arguments{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.configure(&Settings{}); err != nil {
		t.Fatal(err)
	}
	type clash struct {
		Log LogSettings `mapstructure:"log"`
	}
	if err := cfg.configure(&clash{}); err == nil || !strings.Contains(err.Error(), "log.level is configured twice") {
		t.Errorf("the error is %v", err)
	}
	if err := cfg.configure(ownSettings{}); err == nil {
		t.Error("settings that cannot be filled were accepted")
	}
}

func TestPrintConfigShowsEveryKeyAndNoSecret(t *testing.T) {
	t.Setenv("APP_API_TOKEN", "app-secret")
	t.Setenv("CARAVAN_BOOTSTRAP_PASSWORD", "hunter2")
	t.Setenv("CARAVAN_FEED_SETTLE", "7s")
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), "users", []string{"--print-config", "--attempts=3"}, &stdout, &stderr, buildOwn)
	if code != 0 {
		t.Fatalf("the exit code is %d: %s", code, stderr.String())
	}
	printed := stdout.String()
	for _, secret := range []string{"app-secret", "hunter2"} {
		if strings.Contains(printed, secret) {
			t.Errorf("%q was printed", secret)
		}
	}
	for _, want := range []string{"token: '********'", "password: '********'", "settle: 7s", "attempts: 3", "id: users", "port: 0", "dir: keys", "- a"} {
		if !strings.Contains(printed, want) {
			t.Errorf("%q was not printed in:\n%s", want, printed)
		}
	}
}

func TestWhatWasPrintedCanBeReadAgain(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), "users", []string{"--print-config"}, &stdout, &stderr, buildOwn); code != 0 {
		t.Fatalf("the exit code is %d: %s", code, stderr.String())
	}
	first := stdout.String()
	stdout.Reset()
	if code := run(context.Background(), "users", []string{"--print-config", "--config", writeFile(t, first)}, &stdout, &stderr, buildOwn); code != 0 {
		t.Fatalf("the exit code is %d: %s", code, stderr.String())
	}
	if stdout.String() != first {
		t.Errorf("it became\n%s\ninstead of\n%s", stdout.String(), first)
	}
}

func TestHelpListsTheKeysOfChassisAndProgram(t *testing.T) {
	t.Setenv("CARAVAN_ATTEMPTS", "0") // wrong, and no reason to withhold help
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), "users", []string{"--help"}, &stdout, &stderr, buildOwn); code != 0 {
		t.Fatalf("the exit code is %d: %s", code, stderr.String())
	}
	for _, want := range []string{"feed.pull_interval", "CARAVAN_FEED_PULL_INTERVAL", "between two reads", "20s", "keys.dir", "where the signing keys are", "APP_API_TOKEN"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is missing from:\n%s", want, stdout.String())
		}
	}
}

func TestAWrongConfigurationExitsWithTwo(t *testing.T) {
	for name, args := range map[string][]string{
		"file":    {"--config", "no-such-file.yaml"},
		"flag":    {"--no.such.key=1", "--app.token=x"},
		"value":   {"--log.level=loud"},
		"section": {"--attempts=0"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			ctx, cancel := context.WithCancel(context.Background())
			cancel() // should it be accepted, the program ends at once
			if code := run(ctx, "users", args, &stdout, &stderr, buildOwn); code != exitUsage {
				t.Errorf("the exit code is %d: %s", code, stderr.String())
			}
			if !strings.HasPrefix(stderr.String(), "users: ") {
				t.Errorf("it said %q", stderr.String())
			}
		})
	}
}

func buildOwn(_ context.Context, s *Service) error {
	var own ownSettings
	return s.Configure(&own)
}
