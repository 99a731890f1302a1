package main

import "github.com/spf13/cobra"

func newEvidenceCompare() *cobra.Command { return &cobra.Command{Use: "compare"} }
