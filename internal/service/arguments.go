package service

import (
	"errors"
	"fmt"
	"strings"
)

// arguments are the command line. Every configuration key is a flag of the same name.
type arguments struct {
	file        string
	printConfig bool
	help        bool
	version     bool
	probe       string            // "livez" or "readyz"
	values      map[string]string // by key
}

// parseArguments reads --key=value and --key value. The keys are known only after the program is built, so an unknown
// key is found later.
func parseArguments(args []string) (arguments, error) {
	parsed := arguments{values: make(map[string]string)}
	for i := 0; i < len(args); i++ {
		name, value, given := strings.Cut(args[i], "=")
		switch name {
		case "-h", "-help", "--help":
			parsed.help = true
			continue
		case "--print-config":
			parsed.printConfig = true
			continue
		case "--version":
			parsed.version = true
			continue
		}
		key, isFlag := strings.CutPrefix(name, "--")
		if !isFlag || key == "" {
			return arguments{}, fmt.Errorf("%q is not a flag: flags are --key=value (see --help)", args[i])
		}
		if !given {
			if i++; i == len(args) {
				return arguments{}, fmt.Errorf("the flag --%s needs a value", key)
			}
			value = args[i]
		}
		switch key {
		case "config":
			parsed.file = value
			continue
		case "probe":
			if value == "" {
				return arguments{}, errors.New("the flag --probe needs livez or readyz")
			}
			parsed.probe = value
			continue
		}
		parsed.values[strings.ToLower(key)] = value
	}
	return parsed, nil
}
