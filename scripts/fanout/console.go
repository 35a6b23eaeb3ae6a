package main

import "github.com/spf13/cobra"

func newConsole(g *globals) *cobra.Command { return &cobra.Command{Use: "console"} }
