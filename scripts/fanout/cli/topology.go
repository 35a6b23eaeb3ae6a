package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newTopology(g *globals) *cobra.Command {
	var asJSON, mermaid, asyncAPI bool
	cmd := &cobra.Command{
		Use:   "topology",
		Short: "Show the declaration: topic, services, queues, filters, budgets",
		Long:  `Shows what is declared for an environment. It asks no endpoint; everything comes from the declaration.`,
		Args:  exactly(0, "none"),
		RunE: func(*cobra.Command, []string) error {
			d, err := g.deployment()
			if err != nil {
				return err
			}
			switch {
			case asJSON:
				return d.JSON(g.out)
			case mermaid:
				return d.Mermaid(g.out)
			case asyncAPI:
				return g.app.Topology.AsyncAPI(g.out)
			}
			if err := d.Table(g.out); err != nil {
				return fmt.Errorf("write the table: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&mermaid, "mermaid", false, "print a Mermaid flowchart")
	cmd.Flags().BoolVar(&asyncAPI, "asyncapi", false, "print an AsyncAPI 3 document of topic, queues and messages, for all environments")
	cmd.MarkFlagsMutuallyExclusive("json", "mermaid", "asyncapi")
	return cmd
}
