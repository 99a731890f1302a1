package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/identity"
)

func newAppKeyCommand() *cobra.Command {
	create := &cobra.Command{
		Use: "create <name>", Short: "Make a key for a client and print it", Args: cobra.ExactArgs(1),
		Example: "  emet app-key create my-app\n  export YAGNA_APPKEY=$(emet app-key create my-app)\n  emet app-key create page --allow-origin http://localhost:8080",
		RunE:    operating(false, runAppKeyCreate),
	}
	create.Flags().String("id", "", "identity that the key speaks for (id or alias, default: the default identity)")
	create.Flags().StringArray("allow-origin", nil, "browser origin that may use the key; repeatable (* counts only with rest.allow-any-origin)")
	create.Flags().String("role", "", "manager (default), requestor, provider, auditor, metrics, or operator (appends through the gRPC door)")
	list := &cobra.Command{
		Use: "list", Short: "List the keys of clients", Args: cobra.NoArgs,
		Long:    "list shows the keys with their secrets, since the operator owns them. With --quiet it leaves the secrets out.",
		Example: "  emet app-key list\n  emet app-key list --json | jq -r .[0].key",
		RunE:    reading(runAppKeyList),
	}
	list.Flags().String("id", "", "only keys of this identity (id or alias)")
	list.Flags().BoolP("quiet", "q", false, "leave the secrets out")
	outputFlags(list)
	show := &cobra.Command{
		Use: "show <name>", Short: "Show one key", Args: cobra.ExactArgs(1),
		Example: "  emet app-key show my-app --json",
		RunE:    reading(runAppKeyShow),
	}
	drop := &cobra.Command{
		Use: "drop <name>", Short: "End a key: clients that use it are refused from now on", Args: cobra.ExactArgs(1),
		Example: "  emet app-key drop my-app",
		RunE:    operating(false, runAppKeyDrop),
	}
	drop.Flags().String("id", "", "identity that the key must belong to")
	for _, c := range []*cobra.Command{create, show, drop} {
		jsonFlag(c)
	}
	return group("app-key", "Keys by which clients use the node", "  emet app-key create my-app\n  emet app-key list", create, list, show, drop)
}

func runAppKeyCreate(cmd *cobra.Command, args []string, d control.Deps) error {
	id, _ := cmd.Flags().GetString("id")
	role, _ := cmd.Flags().GetString("role")
	origins, _ := cmd.Flags().GetStringArray("allow-origin")
	k, err := d.CreateAppKey(cmd.Context(), control.NewAppKey{AllowOrigins: origins, Identity: id, Name: args[0], Role: identity.Role(role)})
	if err != nil {
		return err
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), k.Key)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), k.Key)
	return err
}

// naive is how scripts know the time of a key: UTC without a zone.
const naive = "2006-01-02T15:04:05.999999"

type listedKey struct {
	Name    string `json:"name"`
	Key     string `json:"key"`
	ID      string `json:"id"`
	Role    string `json:"role"`
	Created string `json:"created"`
}

func runAppKeyList(cmd *cobra.Command, _ []string, r *node.Reading) error {
	keys, err := node.AppKeysOf(cmd.Context(), r.Ledger)
	if err != nil {
		return err
	}
	only, _ := cmd.Flags().GetString("id")
	owner, err := resolve(cmd, r, only)
	if err != nil {
		return err
	}
	quiet, _ := cmd.Flags().GetBool("quiet")
	l := listing{header: []string{"Name", "Key", "Identity", "Role", "Created"}, empty: "There are no app-keys; emet app-key create NAME makes one."}
	for _, k := range keys {
		if owner != "" && k.Identity != owner {
			continue
		}
		if quiet {
			k.Key = ""
		}
		l.add(listedKey{k.Name, k.Key, string(k.Identity), string(k.Role), k.Created.UTC().Format(naive)},
			k.Name, k.Key, string(k.Identity), string(k.Role), when(k.Created))
	}
	return l.print(cmd)
}

// resolve finds the node id of an id or alias, "" for "".
func resolve(cmd *cobra.Command, r *node.Reading, ref string) (identity.NodeID, error) {
	if ref == "" {
		return "", nil
	}
	all, err := identities(cmd, r)
	if err != nil {
		return "", err
	}
	for _, i := range all {
		if i.Alias == ref || strings.EqualFold(string(i.NodeID), ref) {
			return i.NodeID, nil
		}
	}
	return "", codedError{fmt.Errorf("no identity %q on this node; emet id list shows all", ref), exitNotFound}
}

func runAppKeyShow(cmd *cobra.Command, args []string, r *node.Reading) error {
	keys, err := node.AppKeysOf(cmd.Context(), r.Ledger)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.Name != args[0] {
			continue
		}
		if asksJSON(cmd) {
			return printJSON(cmd.OutOrStdout(), struct {
				Name         string   `json:"name"`
				Key          string   `json:"key"`
				Role         string   `json:"role"`
				Identity     string   `json:"identity"`
				CreatedDate  string   `json:"createdDate"`
				AllowOrigins []string `json:"allowOrigins"`
			}{k.Name, k.Key, string(k.Role), string(k.Identity), k.Created.UTC().Format(naive), k.AllowOrigins})
		}
		pairs(cmd.OutOrStdout(), [2]string{"name", k.Name}, [2]string{"key", k.Key}, [2]string{"role", string(k.Role)},
			[2]string{"identity", string(k.Identity)}, [2]string{"created", when(k.Created)}, [2]string{"origins", strings.Join(k.AllowOrigins, " ")})
		return nil
	}
	return notFound("app-key", args[0])
}

func runAppKeyDrop(cmd *cobra.Command, args []string, d control.Deps) error {
	id, _ := cmd.Flags().GetString("id")
	if err := d.DropAppKey(cmd.Context(), args[0], id); err != nil {
		return err
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), nil)
	}
	return nil
}
