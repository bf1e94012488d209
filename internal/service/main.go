package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"go.opentelemetry.io/otel"

	"caravan/internal/sidecar"
	"caravan/internal/telemetry"
	"caravan/internal/token"
	"caravan/internal/version"
)

// Build registers everything that a program does. It returns before the program serves requests. ctx ends with the
// program.
type Build = func(ctx context.Context, s *Service) error

// Exit codes of Main.
const (
	exitFailure = 1 // the program could not run, or could not stop in order
	exitUsage   = 2 // the command line or the configuration is wrong
)

// Main runs a program to its end and exits: 0 after an orderly stop by SIGTERM or SIGINT, 1 when it could not run or
// stop, 2 when its configuration is wrong. A second signal ends it immediately.
func Main(name string, build Build) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // after the first signal, the next one has its default effect
	os.Exit(run(ctx, name, os.Args[1:], os.Stdout, os.Stderr, build))
}

func run(ctx context.Context, name string, args []string, stdout, stderr io.Writer, build Build) int {
	arguments, err := parseArguments(args)
	if err != nil {
		return usage(stderr, name, err)
	}
	if arguments.version {
		fmt.Fprintf(stdout, "%s %s\n", name, version.Read())
		return 0
	}
	cfg, err := loadConfig(arguments, os.Environ())
	if err != nil {
		return usage(stderr, name, err)
	}
	var settings Settings
	if err := cfg.configure(&settings); err != nil {
		return usage(stderr, name, err)
	}
	if settings.App.ID == "" {
		settings.App.ID = name
	}
	if arguments.help || arguments.printConfig {
		return describe(ctx, name, arguments, cfg, settings, stdout, stderr, build)
	}
	if arguments.probe != "" {
		return probeOwn(ctx, name, arguments.probe, settings.App, stderr)
	}
	log := newLogger(stdout, name, settings.Log.Level)
	built := version.Read()
	log.InfoContext(ctx, "starting", "version", built.Version, "revision", built.Revision)
	slog.SetDefault(log) // for code without a logger of its own: package problem, libraries
	s, code := assemble(ctx, name, cfg, settings, log, stderr, build)
	if s == nil {
		return code
	}
	return s.live(ctx)
}

func usage(stderr io.Writer, name string, err error) int {
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	return exitUsage
}

func newLogger(w io.Writer, name, level string) *slog.Logger {
	var threshold slog.Level
	if err := threshold.UnmarshalText([]byte(level)); err != nil {
		threshold = slog.LevelInfo // the setting is validated, so this means no level
	}
	return telemetry.NewLogger(w, name, threshold)
}

// describe answers --help and --print-config. To learn the keys, it builds the program without a sidecar, and only up
// to the first Configure.
func describe(ctx context.Context, name string, args arguments, cfg *config, settings Settings, stdout, stderr io.Writer, build Build) int {
	silent := slog.New(slog.DiscardHandler)
	t, err := telemetry.New(ctx, name, func(string) string { return "" })
	if err != nil {
		return usage(stderr, name, err)
	}
	s, err := newService(name, settings, cfg, silent, t)
	if err != nil {
		return usage(stderr, name, err)
	}
	s.describing = true
	buildErr := protect(ctx, func(ctx context.Context) error { return build(ctx, s) })
	if args.help {
		// The keys are known even if a value is wrong, and then the user needs the help.
		if err := cfg.help(stdout, name); err != nil {
			return usage(stderr, name, err)
		}
		return 0
	}
	// A program without its own keys continues after it was described. It may fail without a sidecar, which is not a
	// fault of its configuration.
	if !errors.Is(buildErr, errDescribed) && len(cfg.sections) > 1 {
		return usage(stderr, name, buildErr)
	}
	if err := errors.Join(cfg.checkUnknown(), cfg.print(stdout)); err != nil {
		return usage(stderr, name, err)
	}
	return 0
}

// assemble makes the service and builds the program on it. If the service is nil, the program exits with the code.
func assemble(ctx context.Context, name string, cfg *config, settings Settings, log *slog.Logger, stderr io.Writer, build Build) (*Service, int) {
	t, err := telemetry.New(ctx, settings.App.ID, os.Getenv)
	if err != nil {
		log.ErrorContext(ctx, "telemetry cannot be set up", "error", err)
		return nil, exitFailure
	}
	otel.SetTracerProvider(t.TracerProvider()) // for libraries and packages that create their own spans
	otel.SetMeterProvider(t.MeterProvider())
	otel.SetTextMapPropagator(telemetry.Propagator())
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("telemetry is losing data", "error", err) }))
	s, err := newService(name, settings, cfg, log, t)
	if err == nil {
		s.Sidecar, err = sidecar.New(sidecar.Options{
			AppID: settings.App.ID, Host: settings.Dapr.Host, HTTPPort: settings.Dapr.HTTPPort, GRPCPort: settings.Dapr.GRPCPort,
			Token: settings.Dapr.Token, AppToken: settings.App.Token,
			WriteBatch: settings.Store.WriteBatch,
			Stopping:   s.draining.Load, Log: log, Clock: s.Clock,
		})
	}
	if err != nil {
		log.ErrorContext(ctx, "the service cannot be set up", "error", err)
		return nil, exitFailure
	}
	err = s.build(ctx, build)
	var wrong *configError
	switch {
	case errors.As(err, &wrong):
		return nil, usage(stderr, name, err)
	case err != nil:
		log.ErrorContext(ctx, "the service cannot be built", "error", err)
		return nil, exitFailure
	}
	return s, 0
}

// Misconfigured marks an error of a build function as a mistake in a combination of settings. The program prints it and
// ends as with any wrong configuration.
func Misconfigured(err error) error { return &configError{err} }

// configError is a mistake in the configuration.
type configError struct{ err error }

func (e *configError) Error() string { return e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

// build runs the program's build function and checks the result.
func (s *Service) build(ctx context.Context, build Build) error {
	if err := build(ctx, s); err != nil {
		return err
	}
	if err := errors.Join(s.failures...); err != nil {
		return err
	}
	if err := s.config.checkUnknown(); err != nil {
		return &configError{err}
	}
	if s.guarded && s.Settings.App.Token == "" {
		return &configError{errors.New("app.token (APP_API_TOKEN, CARAVAN_APP_TOKEN): is required, or no request could be told from a sidecar's")}
	}
	if s.guarded {
		s.answerSidecar()
	}
	if s.public && s.Verifier == nil {
		s.Verifier = token.NewVerifier(s.fetchKeys, s.Settings.Auth.Issuer, s.Settings.Auth.Audience, s.Clock)
	}
	return nil
}

// fetchKeys gets the verification keys from the issuing service.
func (s *Service) fetchKeys(ctx context.Context) (token.KeySet, error) {
	var keys token.KeySet
	auth := s.Settings.Auth
	if err := s.Sidecar.Invoker().Invoke(ctx, auth.KeysApp, auth.KeysPath, struct{}{}, &keys); err != nil {
		return token.KeySet{}, fmt.Errorf("fetching the verification keys of %s: %w", auth.KeysApp, err)
	}
	return keys, nil
}
