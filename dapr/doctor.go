package main

import (
	"context"
	"flag"
	"fmt"

	"caravan/dapr/launcher"
)

func doctorCommand() command {
	return command{
		name: "doctor", summary: "check that this machine has what a stack needs, and say how to install the rest",
		flags: func(c *cli, flags *flag.FlagSet) {
			flags.BoolVar(&c.options.doctor.build, "build", false, "build the sidecar now if none is found, and the stores for log lines and metrics, and prepare .dapr for the Dapr CLI")
			flags.StringVar(&c.options.doctor.daprd, "daprd", "", "`path` of the sidecar to check")
		},
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error {
			if c.options.doctor.build {
				if _, err := launcher.EnsureSidecar(ctx, c.root, c.bin(), c.options.doctor.daprd, c.out); err != nil {
					return err
				}
				if _, err := launcher.EnsureLogStore(ctx, c.root, c.bin(), c.out); err != nil {
					return err
				}
				if _, err := launcher.EnsureMetricStore(ctx, c.root, c.bin(), c.out); err != nil {
					return err
				}
				if err := launcher.PrepareDaprCLI(c.root); err != nil {
					return err
				}
			}
			findings, err := launcher.Diagnose(ctx, c.root, c.dir, c.options.doctor.daprd)
			if err != nil {
				return err
			}
			marks := map[launcher.Severity]string{launcher.Good: "ok  ", launcher.Optional: "--  ", launcher.Bad: "BAD "}
			var failed error
			for _, finding := range findings {
				fmt.Fprintf(c.out, "%s %-22s %s\n", marks[finding.Severity], finding.What, finding.Detail)
				if finding.Advice != "" {
					fmt.Fprintf(c.out, "     %-22s → %s\n", "", finding.Advice)
				}
				if finding.Severity == launcher.Bad {
					failed = errFailed
				}
			}
			return failed
		},
	}
}
