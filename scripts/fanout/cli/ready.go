package cli

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func newReady(*globals) *cobra.Command {
	return &cobra.Command{
		Use:   "ready URL",
		Short: "Ask a running command how it does, for a container's health check",
		Long: `Ends with 0 if the URL, such as http://127.0.0.1:8080/livez, answers 200 within three seconds, and with 1 if not: an image
that holds nothing but this program has no other way to check its health. What replaces a container asks /livez; what
sends it requests, such as a load balancer before a gateway, /readyz.`,
		Args: exactly(1, "a URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, args[0], nil)
			if err != nil {
				return &exitError{exitUsage, fmt.Errorf("URL: %w", err)}
			}
			response, err := (&http.Client{Timeout: 3 * time.Second}).Do(request)
			if err != nil {
				return fmt.Errorf("not ready: %w", err)
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				why, _ := io.ReadAll(io.LimitReader(response.Body, 1024))
				return fmt.Errorf("not ready: %s answers %s: %s", args[0], response.Status, why)
			}
			return nil
		},
	}
}
