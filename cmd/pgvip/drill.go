package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgvip/pgvip/admin"
)

// maxGap is the bound for a planned move.
const maxGap = 50 * time.Millisecond

func drillCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Practise a failover, and measure it",
		Args:  knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &exitError{codeUsage, fmt.Errorf("what to practise is missing, see %q", cmd.CommandPath()+" --help")}
		},
	}
	cmd.AddCommand(drillVIPCommand())
	return cmd
}

// drillOptions are the flags of "drill vip".
type drillOptions struct {
	config, url string
	to          string
	peers       map[string]string // URLs of nodes by name
	address     string            // host:port that is probed; "" for the first virtual address and port of the primary
	stay, yes   bool
	json        bool
	max         time.Duration
}

func drillVIPCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vip",
		Short: "Move the virtual IP for real, to another node and back, and report each phase",
		Long: "vip has the owner of the virtual IP give it to another node, and that one give it back. All the\n" +
			"while it connects to the virtual IP every 5 ms and waits for pgvip's answer to a request for TLS,\n" +
			"with which a login begins. Clients on the virtual IP are reset and have to connect again, once a move.\n\n" +
			"Every node's phases are by that node's own clock, from its first one; the gap is what the drill\n" +
			"itself has seen. It ends with 1 when a move failed or a gap was longer than --max-gap.\n\n" +
			"It finds this node and the token for acting (admin.token) in the configuration, and the others on\n" +
			"the same port at their addresses in the cluster, unless --peer says otherwise.",
		Args: cobra.NoArgs,
	}
	var o drillOptions
	path := addConfigFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&o.url, "url", "", "where a node is, as http://host:7000 (instead of the configuration)")
	f.StringVar(&o.to, "to", "", "the node that is to get it first (default the best one)")
	f.StringToStringVar(&o.peers, "peer", nil, "where another node is, as lb2=http://host:7000")
	f.StringVar(&o.address, "probe", "", "host:port to connect to (default the first virtual address and the primary's port)")
	f.BoolVar(&o.stay, "stay", false, "leave it there, instead of moving it back")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.DurationVar(&o.max, "max-gap", maxGap, "longest time without an answer that is fine")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.config = *path
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		d, err := newDrill(ctx, &o)
		if err != nil {
			return err
		}
		if err := d.confirm(os.Stdin, cmd.ErrOrStderr()); err != nil {
			return err
		}
		report := d.run(ctx)
		if o.json {
			err = printJSON(cmd.OutOrStdout(), report)
		} else {
			err = report.write(cmd.OutOrStdout())
		}
		if err == nil && !report.OK {
			return errSaid
		}
		return err
	}
	return cmd
}

// confirm asks whether to go on; where nobody can be asked, --yes has to say so.
func (d *drill) confirm(in *os.File, out io.Writer) error {
	if d.o.yes {
		return nil
	}
	unasked := &exitError{codeUsage, errors.New("this moves the virtual IP and resets its clients: say --yes")}
	if !isTerminal(in) {
		return unasked
	}
	back := " and back"
	if d.o.stay {
		back = ""
	}
	fmt.Fprintf(out, "Move the virtual IP %s from %s to %s%s? %d clients are connected to it and will be reset. [y/N] ",
		d.address, d.owner, d.target, back, d.clients)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		return unasked // /dev/null looks like a terminal
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("not confirmed: nothing was done")
	}
	return nil
}

// drill is one exercise.
type drill struct {
	o       *drillOptions
	nodes   map[string]*asker
	owner   string // at the beginning
	target  string
	address string // that is probed
	clients int
}

// newDrill finds the nodes, and makes sure that all that are needed answer.
func newDrill(ctx context.Context, o *drillOptions) (*drill, error) {
	self, err := newAsker(o.config, o.url)
	if err != nil {
		return nil, err
	}
	if self.token == "" {
		return nil, errNoToken
	}
	v, err := self.ask(ctx)
	if err != nil {
		return nil, err
	}
	if v.VIP == nil {
		return nil, errNoVIP
	}
	d := &drill{o: o, nodes: map[string]*asker{v.VIP.Node: self}, address: o.address}
	if d.address == "" {
		host, _, _ := strings.Cut(v.VIP.Addresses[0], "/")
		d.address = net.JoinHostPort(host, strconv.Itoa(primaryPort(v.Ports)))
	}
	for name, at := range o.peers {
		if d.nodes[name], err = self.at(at); err != nil {
			return nil, err
		}
	}
	if v.Cluster != nil {
		for i := range v.Cluster.Nodes {
			n := &v.Cluster.Nodes[i]
			if d.nodes[n.Name] == nil {
				d.nodes[n.Name] = self.beside(n.Address)
			}
			d.clients += n.Clients
		}
	}
	return d, d.choose(ctx)
}

// choose finds out who owns the address and who is to get it.
func (d *drill) choose(ctx context.Context) error {
	var able, silent []string
	for _, name := range slices.Sorted(maps.Keys(d.nodes)) {
		s, err := d.look(ctx, name)
		switch {
		case err != nil:
			silent = append(silent, fmt.Sprintf("; node %s: %v", name, err))
		case s.Holds && d.owner != "":
			return fmt.Errorf("both %s and %s have the virtual IP", d.owner, name)
		case s.Holds:
			d.owner = name
		case s.State == admin.VIPBackup && (d.o.to == "" || d.o.to == name):
			able = append(able, name)
		}
	}
	switch {
	case d.owner == "":
		return errors.New("no node that answers has the virtual IP" + strings.Join(silent, ""))
	case len(able) == 0 && d.o.to != "":
		return fmt.Errorf("node %s could not take the virtual IP: no Backup of this name answers%s", d.o.to, strings.Join(silent, ""))
	case len(able) == 0:
		return errors.New("no other node could take the virtual IP" + strings.Join(silent, ""))
	}
	d.target = able[0]
	return nil
}

// errNoToken says what is missing.
var errNoToken = errors.New("acting needs a token: admin.token of the configuration, or " + tokenVariable + " with --url")

// defaultPrimaryPort is where clients write when no node says otherwise.
const defaultPrimaryPort = 5000

// primaryPort is where clients write.
func primaryPort(ports []admin.Port) int {
	for _, p := range ports {
		for _, address := range p.Addresses {
			if _, port := hostPort(address); p.Role == "primary" && port != 0 {
				return port
			}
		}
	}
	return defaultPrimaryPort
}

// look asks a node for its part in the virtual IP.
func (d *drill) look(ctx context.Context, name string) (*admin.VIP, error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	v, err := d.nodes[name].ask(ctx)
	switch {
	case err != nil:
		return nil, err
	case v.VIP == nil:
		return nil, errNoVIP
	}
	return v.VIP, nil
}

// at is an asker of another node, with the same names, passwords and rules.
func (a *asker) at(place string) (*asker, error) {
	if err := checkURL(place); err != nil {
		return nil, err
	}
	other := *a
	other.url = place
	return &other, nil
}

// beside is an asker of a node of which one address is known: on the same port.
func (a *asker) beside(address string) *asker {
	other := *a
	host, _, err := net.SplitHostPort(address)
	if u, bad := url.Parse(a.url); err == nil && bad == nil {
		u.Host = net.JoinHostPort(host, u.Port())
		other.url = u.String()
	}
	return &other
}
