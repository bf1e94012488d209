package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/dapr/launcher/compose"
)

// The stacks that commands know by name.
const (
	targetLauncher = "launcher" // started by "up", on this machine
	targetCompose  = "compose"  // started by docker compose, with compose/.env
)

// access describes which stack a command uses, and who logs in there.
type access struct {
	target       string // "" is the launcher's, unless a gateway is named
	gateway      string // "" is that of the target
	email        string // "" is the target's user with the role that a command needs
	passwordFile string
}

// elsewhere reports whether the stack is not one of the launcher.
func (a access) elsewhere() bool { return a.target == targetCompose || a.gateway != "" }

// targetFlag declares --target only, for commands about processes.
func (c *cli) targetFlag(flags *flag.FlagSet) {
	flags.Var(oneOf{&c.options.access.target, []string{targetLauncher, targetCompose}}, "target",
		"the stack's `name`: launcher, started by \"up\", or compose, started by docker compose (default launcher)")
}

// gatewayFlags declares the flags for the address of the gateway.
func (c *cli) gatewayFlags(flags *flag.FlagSet) {
	c.targetFlag(flags)
	flags.Var(webAddress{&c.options.access.gateway, "http://127.0.0.1:8080"}, "gateway", "`URL` of another gateway, as http://127.0.0.1:8080")
}

// loginFlags declares the flags for the address of the gateway and for who logs in.
func (c *cli) loginFlags(flags *flag.FlagSet) {
	c.gatewayFlags(flags)
	flags.StringVar(&c.options.access.email, "email", "", "log in with this `address`; its password is read from CARAVAN_PASSWORD, or from --password-file")
	flags.StringVar(&c.options.access.passwordFile, "password-file", "", "`file` with the password of --email")
}

// loginHelp explains loginFlags in the help of a command.
const loginHelp = `

Works against the stack of "up"; with --target compose against that of docker compose, with the passwords in
compose/.env; with --gateway URL against any other. There the passwords are read from the environment:
CUSTOMER_PASSWORD, STAFF_PASSWORD and ADMIN_PASSWORD for the people of "seed", or CARAVAN_PASSWORD for --email.`

// shop is a gateway with the people who can log in there.
type shop struct {
	gateway string
	people  []launcher.User
	source  string            // where their passwords come from
	sources map[string]string // by role, if the password comes from another source
	hint    string            // what to do if nobody has the needed role; %s stands for the variables that help
	early   string            // why the people may not exist yet
}

// shop finds the gateway and the people from the flags.
func (c *cli) shop(ctx context.Context) (shop, error) {
	found, err := c.targetShop(ctx)
	if err != nil {
		return shop{}, err
	}
	a := c.options.access
	found.gateway = strings.TrimRight(cmp.Or(a.gateway, found.gateway), "/")
	if a.email == "" {
		if a.passwordFile != "" {
			return shop{}, &usageError{"--password-file needs --email: whose password is it?"}
		}
		return found, nil
	}
	password, source, err := a.password()
	if err != nil {
		return shop{}, err
	}
	// This user is for every role, because the gateway checks the user's roles.
	found.people, found.source, found.sources, found.early = nil, source, nil, ""
	for _, role := range roles {
		found.people = append(found.people, launcher.User{Email: a.email, Password: password, Role: role})
	}
	return found, nil
}

// targetShop returns the shop that the flags name, with its own people.
func (c *cli) targetShop(ctx context.Context) (shop, error) {
	switch a := c.options.access; {
	case a.target == targetCompose:
		return c.composeShop(ctx)
	case a.target == "" && a.gateway != "":
		const hint = "set %s in the environment, or use --email"
		return shop{gateway: a.gateway, people: peopleOf(os.Getenv), source: "the environment", hint: hint}, nil
	}
	if _, err := c.connect(ctx); err != nil {
		return shop{}, err
	}
	metadata, err := launcher.ReadMetadata(c.dir)
	if err != nil {
		return shop{}, fmt.Errorf("the stack is not ready yet: see it with status (%w)", err)
	}
	const hint = "the stack was started with --no-seed. Start it without: go run ./dapr down, then go run ./dapr up"
	return shop{gateway: metadata.Gateway, people: metadata.Users, source: "stack.json", hint: hint}, nil
}

// composeShop returns the shop of docker compose, from its secrets and the environment.
func (c *cli) composeShop(ctx context.Context) (shop, error) {
	setting, err := c.composeSettings()
	if err != nil {
		return shop{}, err
	}
	found := shop{
		people: peopleOf(setting), source: "compose/.env", sources: map[string]string{},
		hint:  "complete compose/.env with: go run ./dapr secrets",
		early: stillFilling,
	}
	for _, role := range roles {
		if variable := passwordVariable(role); os.Getenv(variable) != "" {
			found.sources[role] = variable + " in the environment, not from compose/.env"
		}
	}
	if c.options.access.gateway == "" {
		found.gateway, err = c.composeGateway(ctx)
	}
	return found, err
}

// stillFilling explains why a shop of docker compose may be empty.
const stillFilling = `the container "seed" may still be filling the shop; see it with: go run ./dapr status --target compose`

// composeSettings returns the values that docker compose uses: of the environment, else of compose/.env.
func (c *cli) composeSettings() (func(name string) string, error) {
	file := filepath.Join(c.root, "compose", ".env")
	content, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s; write it with: go run ./dapr secrets", file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the secrets: %w", err)
	}
	values := compose.ParseEnv(string(content))
	return func(name string) string { return cmp.Or(os.Getenv(name), values[name]) }, nil
}

// roles are the roles of a new shop's people.
var roles = []string{"customer", "staff", "admin"}

// passwordVariable names the password of the person with a role.
func passwordVariable(role string) string { return strings.ToUpper(role) + "_PASSWORD" }

// peopleOf returns the people of seed whose passwords are set.
func peopleOf(setting func(name string) string) []launcher.User {
	var people []launcher.User
	for _, role := range roles {
		if password := setting(passwordVariable(role)); password != "" {
			people = append(people, launcher.User{Email: role + "@caravan.example", Password: password, Role: role})
		}
	}
	return people
}

// password reads the password of --email. It is not a flag, because others can read command lines.
func (a access) password() (password, source string, err error) {
	const variable = "CARAVAN_PASSWORD"
	if a.passwordFile == "" {
		if password = os.Getenv(variable); password == "" {
			return "", "", &usageError{fmt.Sprintf("The password of %s is read from %s, which is not set, or from --password-file.", a.email, variable)}
		}
		return password, variable, nil
	}
	content, err := os.ReadFile(a.passwordFile)
	if err != nil {
		return "", "", fmt.Errorf("reading the password: %w", err)
	}
	if password = strings.TrimRight(string(content), "\r\n"); password == "" {
		return "", "", fmt.Errorf("%s is empty; it should hold the password of %s", a.passwordFile, a.email)
	}
	return password, a.passwordFile, nil
}

// acting returns the roles that may act for a role, in order of preference.
func acting(role string) []string {
	if role == "staff" {
		return []string{role, "admin"}
	}
	return []string{role}
}

// userFor returns the first user with a role, or the admin if there is no staff.
func userFor(users []launcher.User, role string) (launcher.User, bool) {
	for _, role := range acting(role) {
		i := slices.IndexFunc(users, func(u launcher.User) bool { return u.Role == role })
		if i >= 0 {
			return users[i], true
		}
	}
	return launcher.User{}, false
}

// signedIn logs in as the first of the people with a role. Without staff, as after "up --no-seed", it uses the admin,
// who may do everything that staff may.
func (c *cli) signedIn(ctx context.Context, role string) (*client.Client, error) {
	found, err := c.shop(ctx)
	if err != nil {
		return nil, err
	}
	return found.signIn(ctx, role)
}

// staffAction is what a command does as a member of staff.
type staffAction = func(ctx context.Context, staff *client.Client) error

// asStaff runs the action that a command's arguments choose. A mistake in them is found before any call.
func asStaff(choose func(c *cli, args []string) (staffAction, error)) func(context.Context, *cli, *flag.FlagSet) error {
	return func(ctx context.Context, c *cli, flags *flag.FlagSet) error {
		act, err := choose(c, flags.Args())
		if err != nil {
			return err
		}
		staff, err := c.signedIn(ctx, "staff")
		if err != nil {
			return err
		}
		return act(ctx, staff)
	}
}

func (s shop) signIn(ctx context.Context, role string) (*client.Client, error) {
	user, ok := userFor(s.people, role)
	if !ok {
		var variables []string
		for _, role := range acting(role) {
			variables = append(variables, passwordVariable(role))
		}
		return nil, fmt.Errorf("there is no %s to log in as at %s: %s", role, s.gateway, strings.ReplaceAll(s.hint, "%s", strings.Join(variables, " or ")))
	}
	in, err := client.New(s.gateway, nil).Login(ctx, user.Email, user.Password)
	switch status := client.Status(err); {
	case err == nil:
		return in, nil
	case ctx.Err() != nil:
		return nil, err
	case status == http.StatusUnauthorized:
		refusal := fmt.Sprintf("the gateway at %s refused the password of %s, which is from ", s.gateway, user.Email)
		if source := s.sources[user.Role]; source != "" {
			return nil, errors.New(refusal + source)
		}
		if user.Role == "admin" { // exists before the shop is filled
			return nil, errors.New(refusal + s.source)
		}
		return nil, errors.New(refusal + s.source + quoted("; ", s.early))
	case status == 0:
		return nil, unreachable(s.gateway, err)
	}
	return nil, fmt.Errorf("logging in as %s at %s: %w", user.Email, s.gateway, err)
}

// unreachable explains a call without an answer.
func unreachable(gateway string, err error) error {
	return fmt.Errorf("no gateway answers at %s; does it run, and is the address right? (%w)", gateway, err)
}
