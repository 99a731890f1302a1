package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"github.com/emet-node/emet/adapters/store/kurrent"
	"github.com/emet-node/emet/cmd/emet/node"
)

// A setting is one key of the configuration: its default, the variables that
// may set it, and what it means.
type setting struct {
	key     string
	value   string   // default
	env     []string // besides EMET_<KEY>, oldest last
	meaning string
}

// settings is the whole configuration. Every key can be given as a flag where
// the command has one, as EMET_<KEY with underscores>, in <datadir>/config.yaml,
// or left at its default.
var settings = []setting{
	{"datadir", "", []string{"YAGNA_DATADIR"}, "where everything of the node lives (default $XDG_DATA_HOME/emet)"},
	{"rest.listen", "http://127.0.0.1:7465", []string{"YAGNA_API_URL"}, "address of the REST API"},
	{"rest.allow-origin", "", []string{"YAGNA_API_ALLOW_ORIGIN"}, "browser origins that every app-key may be used from, comma separated"},
	{"rest.allow-any-origin", "false", nil, "let * in a list of origins mean every web page, of this daemon and of app-keys"},
	{"autoconf.appkey", "", []string{"YAGNA_AUTOCONF_APPKEY"}, "an app-key of the default identity that exists while the daemon runs"},
	{"autoconf.id-secret", "", []string{"YAGNA_AUTOCONF_ID_SECRET"}, "private key (hex) of the default identity"},
	{"log.level", "info", nil, "debug, info, warn or error"},
	{"log.format", "text", nil, "text or json"},
	{"store.engine", "", nil, "where the log is: segment, sqlite, sqlite:PATH, kurrent, or kurrent://… (default: what the directory has, else segment)"},
	{"store.kurrent-url", "", nil, "connection string of the server when store.engine is kurrent"},
	{"store.segment-mib", "64", nil, "size of a segment of the log"},
	{"grpc.listen", "", nil, "address of the door for EventStoreDB clients, such as 127.0.0.1:2113 (default: none)"},
	{"grpc.tls", "false", nil, "secure that door with a certificate of the node's own; without it the door opens on loopback only"},
	{"net.name", "public", nil, "name of the network; nodes of other names are not heard"},
	{"net.listen", "/ip4/0.0.0.0/udp/11511/quic-v1,/ip4/0.0.0.0/tcp/11511", nil, "addresses for other nodes, comma separated multiaddrs"},
	{"net.bootstrap", "", []string{"EMET_BOOTSTRAP"}, "nodes to connect to at start, comma separated multiaddrs"},
	{"net.subnet", "public", []string{"SUBNET", "YAGNA_SUBNET"}, "subnet named in own offers"},
	{"node.name", "", []string{"NODE_NAME"}, "name shown in own offers"},
	{"market.ttl", "1h", []string{"DEFAULT_SUBSCRIPTION_TTL"}, "life of an offer or demand"},
	{"market.max-agreements", "1", []string{"MAX_SIMULTANEOUS_AGREEMENTS"}, "agreements that a provider serves at once"},
	{"activity.unresponsive", "5s", nil, "silence after which an exe-unit counts as unresponsive"},
	{"activity.provider-lost", "30s", nil, "how long a provider may be out of reach before its running work counts as lost"},
	{"activity.wall-clock", "0s", nil, "longest time one command may run, 0 = no limit"},
	{"activity.orphan-after", "10m", nil, "how long an exe-unit lives on without its daemon"},
	{"payment.networks", "", nil, "payment networks to serve, comma separated (default: those with an RPC URL)"},
	{"payment.default-network", "hoodi", nil, "network of an allocation that names none"},
	{"payment.cycle", "", []string{"PAYMENT_CYCLE_DEFAULT_INTERVAL"}, "time between settlement runs (default 5m on test networks, 24h elsewhere)"},
	{"payment.skip-validation", "false", []string{"YAGNA_DEV_SKIP_ALLOCATION_VALIDATION"}, "allow allocations that the account does not cover"},
	{"webhook.allow", "", nil, "addresses (127.0.0.1) or ranges (10.0.0.0/8), comma separated, that webhooks may reach although they are private, and with http"},
	{"webhook.give-up", "24h", nil, "how long a webhook is told one fact before it is set aside"},
	{"provider.enabled", "true", nil, "sell computing"},
	{"provider.debit-note-interval", "2m", []string{"DEBIT_NOTE_INTERVAL"}, "time between debit notes"},
	{"provider.payment-timeout", "2m", []string{"PAYMENT_TIMEOUT"}, "time a requestor has to pay a debit note"},
	{"provider.idle-agreement", "90s", []string{"IDLE_AGREEMENT_TIMEOUT"}, "how long an agreement may have no activity"},
	{"provider.allow-loopback", "false", nil, "let transfers reach loopback and private addresses; for development only"},
	{"provider.threads", "", nil, "CPU threads to offer (default: all but none)"},
	{"provider.mem-gib", "", nil, "memory to offer in GiB (default: 70 % of what there is)"},
	{"provider.storage-gib", "", nil, "storage to offer in GiB (default: 80 % of what is free)"},
	{"provider.price-duration", "0.00002", nil, "GLM per second of an activity"},
	{"provider.price-cpu", "0.0001", nil, "GLM per CPU second"},
	{"provider.price-fixed", "0", nil, "GLM per agreement"},
}

// Config is the configuration of one process: text values by key, with the
// place each came from.
type Config struct {
	k      *koanf.Koanf
	source map[string]string
}

// loadConfig layers defaults, config.yaml, yagna's variables, EMET_* variables
// and flags; the later win. It reports everything that is wrong at once.
func loadConfig(flags map[string]string) (*Config, error) {
	c := &Config{k: koanf.New("."), source: map[string]string{}}
	for _, s := range settings {
		c.set(s.key, s.value, "default")
	}
	early := c.k.Copy()
	for _, s := range settings {
		if v, _, ok := fromEnv(s); ok {
			_ = early.Set(s.key, v)
		}
	}
	dir := early.String("datadir")
	if d := flags["datadir"]; d != "" {
		dir = d
	}
	if dir == "" {
		dir = defaultDataDir()
	}
	if err := c.loadFile(filepath.Join(dir, "config.yaml")); err != nil {
		return nil, err
	}
	for _, s := range settings {
		if v, name, ok := fromEnv(s); ok {
			c.set(s.key, v, name)
		}
	}
	for k, v := range flags {
		c.set(k, v, "flag")
	}
	c.set("datadir", dir, c.source["datadir"])
	return c, c.Validate()
}

func (c *Config) loadFile(path string) error {
	f := koanf.New(".")
	err := f.Load(file.Provider(path), yaml.Parser())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("data directory %s: it is a file; name another with -d", filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	known := map[string]bool{}
	for _, s := range settings {
		known[s.key] = true
	}
	for _, k := range f.Keys() {
		if !known[k] {
			return fmt.Errorf("configuration %s: unknown key %q (emet config explain lists all)", path, k)
		}
		c.set(k, f.String(k), path)
	}
	return nil
}

func (c *Config) set(key, value, source string) {
	_ = c.k.Load(confmap.Provider(map[string]any{key: value}, "."), nil)
	c.source[key] = source
}

func fromEnv(s setting) (value, name string, ok bool) {
	own := "EMET_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(s.key))
	for _, n := range append([]string{own}, s.env...) {
		if v, ok := os.LookupEnv(n); ok && v != "" {
			return v, n, true
		}
	}
	return "", "", false
}

func defaultDataDir() string {
	if d := os.Getenv("XDG_DATA_HOME"); d != "" {
		return filepath.Join(d, "emet")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "emet-data"
	}
	return filepath.Join(home, ".local", "share", "emet")
}

// settingRules say of settings what their values must be: fails returns what is wrong
// with one, "" if nothing is.
var settingRules = []struct {
	keys  []string
	fails func(c *Config, key string) string
}{
	{[]string{
		"market.ttl", "activity.unresponsive", "activity.provider-lost", "activity.wall-clock", "activity.orphan-after", "payment.cycle",
		"provider.debit-note-interval", "provider.payment-timeout", "provider.idle-agreement", "webhook.give-up",
	}, mustBe("a duration such as 90s, 5m or 1h", func(v string) bool { _, err := parseDuration(v); return v == "" || err == nil })},
	{
		[]string{"rest.allow-any-origin", "provider.enabled", "provider.allow-loopback", "payment.skip-validation", "grpc.tls"},
		mustBe("true or false", func(v string) bool { _, err := parseBool(v); return err == nil }),
	},
	{
		[]string{"store.segment-mib", "market.max-agreements"},
		mustBe("a whole number from 1 up", func(v string) bool { n, err := parseCount(v); return err == nil && n >= 1 }),
	},
	{[]string{"rest.allow-origin"}, func(c *Config, key string) string {
		if slices.Contains(c.List(key), "*") && !c.Bool("rest.allow-any-origin") {
			return "* lets every web page that is open on this machine call the node; if that is meant, set rest.allow-any-origin to true"
		}
		return ""
	}},
	{[]string{"webhook.allow"}, func(c *Config, key string) string { _, err := prefixes(c.List(key)); return reason(err) }},
	{[]string{"store.engine"}, func(c *Config, _ string) string { return reason(node.ParseStore(c.Store())) }},
	{[]string{"grpc.listen"}, mustBe("an address such as 127.0.0.1:2113", func(v string) bool {
		_, _, err := net.SplitHostPort(v)
		return v == "" || err == nil
	})},
	{[]string{"rest.listen"}, func(c *Config, _ string) string { _, err := c.ListenAddr(); return reason(err) }},
	{[]string{"log.level"}, mustBe("debug, info, warn or error", func(v string) bool {
		return slices.Contains([]string{"debug", "info", "warn", "error"}, v)
	})},
	{[]string{"log.format"}, mustBe("text or json", func(v string) bool { return v == "text" || v == "json" })},
}

func mustBe(what string, good func(v string) bool) func(c *Config, key string) string {
	return func(c *Config, key string) string {
		if good(c.String(key)) {
			return ""
		}
		return "want " + what
	}
}

// reason is what an error says, "" for none.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Validate reports every value that cannot be used.
func (c *Config) Validate() error {
	var errs []error
	for _, r := range settingRules {
		for _, key := range r.keys {
			if why := r.fails(c, key); why != "" {
				errs = append(errs, fmt.Errorf("%s = %q (from %s): %s", key, shown(key, c.String(key)), c.source[key], why))
			}
		}
	}
	return errors.Join(errs...)
}

// ListenAddr is host:port of the REST API.
func (c *Config) ListenAddr() (string, error) {
	v := c.String("rest.listen")
	if rest, ok := strings.CutPrefix(v, "https://"); ok {
		return "", fmt.Errorf("TLS is not served; use http://%s", rest)
	}
	v = strings.TrimPrefix(v, "http://")
	v, _, _ = strings.Cut(v, "/")
	if _, _, err := net.SplitHostPort(v); err != nil {
		return "", errors.New("want an address such as http://127.0.0.1:7465")
	}
	return v, nil
}

// Store is where the log is to be, "" = where it is.
func (c *Config) Store() string {
	if v := c.String("store.engine"); v != "kurrent" {
		return v
	}
	return c.String("store.kurrent-url")
}

// String, Bool, Int, Duration and List read a validated value.
func (c *Config) String(key string) string { return c.k.String(key) }

// Bool reads a validated value.
func (c *Config) Bool(key string) bool { v, _ := parseBool(c.String(key)); return v }

// Int reads a validated value.
func (c *Config) Int(key string) int { v, _ := parseCount(c.String(key)); return v }

// Duration reads a validated value; empty is zero.
func (c *Config) Duration(key string) time.Duration { v, _ := parseDuration(c.String(key)); return v }

// List splits a value at commas.
func (c *Config) List(key string) []string {
	return strings.FieldsFunc(c.String(key), func(r rune) bool { return r == ',' || r == ' ' })
}

// Dir joins a path below the data directory.
func (c *Config) Dir(parts ...string) string {
	return filepath.Join(append([]string{c.String("datadir")}, parts...)...)
}

// Explain lists every key with its value, where it came from and what it means.
func (c *Config) Explain() []explained {
	out := make([]explained, 0, len(settings))
	for _, s := range settings {
		out = append(out, explained{Key: s.key, Value: shown(s.key, c.String(s.key)), Source: c.source[s.key], Default: s.value, Meaning: s.meaning})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}

// shown is a value as everybody may see it.
func shown(key, value string) string {
	switch {
	case strings.Contains(key, "secret") && value != "":
		return "***"
	case strings.HasPrefix(key, "store."):
		return kurrent.Redact(value)
	}
	return value
}

type explained struct {
	Key     string `json:"key"`
	Value   string `json:"value"`
	Source  string `json:"source"`
	Default string `json:"default"`
	Meaning string `json:"meaning"`
}
