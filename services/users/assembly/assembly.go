// Package assembly connects the use cases of users with their adapters, and registers routes and workers.
package assembly

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"time"

	"caravan/internal/service"
	"caravan/internal/token"
	"caravan/services/users/adapters"
	"caravan/services/users/adapters/keyring"
	"caravan/services/users/adapters/password"
	"caravan/services/users/app"
	"caravan/services/users/audit"
	"caravan/services/users/domain"
)

// settings is the service's own section of the configuration.
type settings struct {
	Keys struct {
		Dir          string        `mapstructure:"dir" default:".dapr/keys" help:"directory of signing and refresh keys, created on first start" validate:"required"`
		PublishDelay time.Duration `mapstructure:"publish_delay" default:"15m" help:"how long a new key is published before it signs" validate:"min=0"`
	} `mapstructure:"keys"`
	Bootstrap struct {
		Email    string `mapstructure:"email" help:"address of the first admin; none is created if empty"`
		Password string `mapstructure:"password" secret:"true" help:"the first admin's password" validate:"required_with=Email"`
		Name     string `mapstructure:"name" default:"Administrator" help:"the first admin's name"`
	} `mapstructure:"bootstrap"`
	Password struct {
		Memory      uint32 `mapstructure:"memory" default:"19456" help:"memory of one Argon2id hash in KiB" validate:"min=8,max=1048576"`
		Iterations  uint32 `mapstructure:"iterations" default:"2" help:"passes of one Argon2id hash" validate:"min=1,max=16"`
		Parallelism uint8  `mapstructure:"parallelism" default:"1" help:"lanes of one Argon2id hash" validate:"min=1,max=16"`
		Queue       int    `mapstructure:"queue" default:"64" help:"passwords that may wait to be hashed" validate:"min=0,max=10000"`
	} `mapstructure:"password"`
	Access struct {
		TTL time.Duration `mapstructure:"ttl" default:"5m" help:"lifetime of an access token" validate:"min=10s,max=1h"`
	} `mapstructure:"access"`
	Sessions struct {
		Idle          time.Duration `mapstructure:"idle" default:"168h" help:"time without use after which a customer's session ends" validate:"min=1m"`
		Absolute      time.Duration `mapstructure:"absolute" default:"720h" help:"time after which a customer's session ends" validate:"gtefield=Idle"`
		StaffIdle     time.Duration `mapstructure:"staff_idle" default:"30m" help:"time without use after which a staff member's session ends" validate:"min=1m"`
		StaffAbsolute time.Duration `mapstructure:"staff_absolute" default:"12h" help:"time after which a staff member's session ends" validate:"gtefield=StaffIdle"`
		Grace         time.Duration `mapstructure:"grace" default:"60s" help:"how long a used refresh token is accepted again, in case the first answer was lost" validate:"min=0,max=5m"`
	} `mapstructure:"sessions"`
	Mail struct {
		VerificationTTL time.Duration `mapstructure:"verification_ttl" default:"24h" help:"lifetime of the link in a mail that verifies an address" validate:"min=1m,max=720h"`
		ResetTTL        time.Duration `mapstructure:"reset_ttl" default:"30m" help:"lifetime of the link in a mail that resets a password" validate:"min=1m,max=24h"`
		ResetDuration   time.Duration `mapstructure:"reset_duration" default:"400ms" help:"how long each request for a reset takes at least, so that its time does not tell whether there is an account" validate:"min=0,max=5s"`
	} `mapstructure:"mail"`
}

// Build assembles the program. main and the simulation run it.
func Build(_ context.Context, s *service.Service) error {
	var cfg settings
	if err := s.Configure(&cfg); err != nil {
		return err
	}
	ring, err := keyring.Open(cfg.Keys.Dir, cfg.Keys.PublishDelay, rand.Reader, s.Clock)
	if err != nil {
		return fmt.Errorf("opening the keys in %s: %w", cfg.Keys.Dir, err)
	}
	costs := password.Parameters{Memory: cfg.Password.Memory, Iterations: cfg.Password.Iterations, Parallelism: cfg.Password.Parallelism}
	hasher, err := password.New(costs, runtime.GOMAXPROCS(0), cfg.Password.Queue, rand.Reader)
	if err != nil {
		return fmt.Errorf("creating the password hasher: %w", err)
	}

	documents := s.Documents(nil)
	accounts := app.NewAccounts(documents.Store, documents.Options)
	tokens := cfg.tokens(s.Settings.Auth, ring)
	mail := &app.MailTokens{
		Key: ring.RefreshKey().Derive("tokens in mails"), Random: rand.Reader,
		VerificationTTL: cfg.Mail.VerificationTTL, ResetTTL: cfg.Mail.ResetTTL,
	}
	register := app.RegisterUser{Accounts: accounts, Passwords: hasher, Mail: mail}
	changeRoles := app.ChangeRoles{Accounts: accounts}
	adapters.API{
		RegisterUser: register,
		LogIn: app.LogIn{
			Accounts: accounts, Passwords: hasher, Tokens: tokens, Random: rand.Reader, Devices: ring.RefreshKey().Derive("devices"),
		},
		Refresh:              app.Refresh{Accounts: accounts, Tokens: tokens, Log: s.Log},
		LogOut:               app.LogOut{Accounts: accounts},
		ShowProfile:          app.ShowProfile{Accounts: accounts},
		UpdateProfile:        app.UpdateProfile{Accounts: accounts},
		ChangePassword:       app.ChangePassword{Accounts: accounts, Passwords: hasher},
		ChangeRoles:          changeRoles,
		ListUsers:            app.ListUsers{Accounts: accounts},
		ListContacts:         app.ListContacts{Accounts: accounts},
		ListStaff:            app.ListStaff{Accounts: accounts},
		RequestVerification:  app.RequestVerification{Accounts: accounts, Mail: mail},
		VerifyEmail:          app.VerifyEmail{Accounts: accounts, Mail: mail},
		RequestPasswordReset: app.RequestPasswordReset{Accounts: accounts, Mail: mail, Duration: cfg.Mail.ResetDuration, Log: s.Log},
		ResetPassword:        app.ResetPassword{Accounts: accounts, Mail: mail, Passwords: hasher},
		IssueMailToken:       app.IssueMailToken{Accounts: accounts, Mail: mail},
		Audit:                audit.Audit{Accounts: accounts, Trail: documents.Trail()},
		KeySet:               ring.KeySet,
	}.Register(s)

	// Users verifies with its own keys and does not fetch them from itself through the sidecar.
	keys := func(context.Context) (token.KeySet, error) { return ring.KeySet(), nil }
	s.Verifier = token.NewVerifier(keys, s.Settings.Auth.Issuer, s.Settings.Auth.Audience, s.Clock)

	bootstrap := &app.Bootstrap{
		RegisterUser: register, ChangeRoles: changeRoles, Log: s.Log,
		Email: cfg.Bootstrap.Email, Password: cfg.Bootstrap.Password, Name: cfg.Bootstrap.Name,
	}
	s.Background("bootstrap", bootstrap.Run)
	s.Ready("bootstrap", bootstrap.Ready)
	s.Background("list of staff", app.ListStaffOnce{Accounts: accounts}.Run)
	s.Background("keys", ring.Watch)
	return nil
}

func (cfg *settings) tokens(auth service.AuthSettings, ring *keyring.Ring) *app.Tokens {
	sessions := cfg.Sessions
	return &app.Tokens{
		Signer: ring, RefreshKey: ring.RefreshKey(), Issuer: auth.Issuer, Audience: auth.Audience, AccessTTL: cfg.Access.TTL,
		Customers: domain.SessionPolicy{Idle: sessions.Idle, Absolute: sessions.Absolute, Grace: sessions.Grace},
		Staff:     domain.SessionPolicy{Idle: sessions.StaffIdle, Absolute: sessions.StaffAbsolute, Grace: sessions.Grace},
	}
}
