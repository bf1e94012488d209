package service

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"
)

// print writes the values in use as YAML that --config reads, with secrets masked.
func (c *config) print(w io.Writer) error {
	tree := make(map[string]any)
	for i, o := range c.options {
		value := o.text(c.sections[c.owners[i]].Elem())
		if o.secret {
			if text, ok := value.(string); !ok || text != "" {
				value = mask
			}
		}
		if value == "" {
			value = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle}
		}
		place(tree, o.key, value)
	}
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(tree); err != nil {
		return fmt.Errorf("printing the configuration: %w", err)
	}
	return encoder.Close()
}

// help writes the flags and keys of the program.
func (c *config) help(w io.Writer, name string) error {
	fmt.Fprintf(w, `Usage: %s [--config FILE] [--print-config | --probe livez|readyz | --version] [--KEY=VALUE ...]

Each key is a flag, an environment variable and a key of the YAML file, in this order of precedence.
  --config FILE    read keys from FILE
  --print-config   print the configuration in force, without secrets, and exit
  --probe NAME     ask the running program for its livez or readyz, and exit 0 if it answers 200
  --version        print what this is built from, and exit
  --help           print this and exit

`, name)
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tENVIRONMENT\tDEFAULT\tMEANING")
	for _, o := range c.options {
		standard := o.standard
		if standard == "" {
			standard = "-"
		}
		meaning := o.help
		if o.secret {
			meaning = strings.TrimSpace(meaning + " (secret)")
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", o.key, strings.Join(o.env, ", "), standard, meaning)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the help: %w", err)
	}
	return nil
}
