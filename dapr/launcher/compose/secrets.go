package compose

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"caravan/services/notifications/adapters/vapid"
)

var requiredVariable = regexp.MustCompile(`\$\{([A-Z0-9_]+):\?`)

// RequiredVariables are the variables that the compose files of a folder require.
func RequiredVariables(folder string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s holds no compose files", folder)
	}
	var names []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the compose files: %w", err)
		}
		for _, match := range requiredVariable.FindAllStringSubmatch(string(content), -1) {
			names = append(names, match[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// PushKey is the variable with the key by which the shop identifies itself to push services. Unlike the others it is no random text.
const PushKey = "PUSH_PRIVATE_KEY"

// Complete adds the variables that are missing in the text of an .env file, each with its own value.
func Complete(text string, wanted []string) (completed string, added int) {
	if text == "" {
		text = "# Secrets of the stack in compose/, made by: go run ./dapr secrets\n"
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	present := ParseEnv(text)
	for _, name := range wanted {
		if present[name] == "" {
			text += name + "=" + newSecret(name) + "\n"
			added++
		}
	}
	return text, added
}

func newSecret(name string) string {
	if name != PushKey {
		return strings.ToLower(rand.Text())
	}
	key, err := vapid.New(rand.Reader)
	if err != nil {
		panic(err) // rand.Reader has no errors
	}
	return key.Private
}

// ParseEnv reads the text of an .env file: NAME=value in each line, with or without quotes.
func ParseEnv(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if name = strings.TrimSpace(name); !found || strings.HasPrefix(name, "#") {
			continue
		}
		value = strings.TrimSpace(value)
		if quoted := len(value) > 1 && strings.ContainsAny(value[:1], `"'`); quoted {
			if end := strings.Index(value[1:], value[:1]); end >= 0 {
				value = value[1 : end+1]
			}
		} else if comment := strings.Index(value, " #"); comment >= 0 {
			value = strings.TrimSpace(value[:comment])
		}
		values[name] = value
	}
	return values
}
