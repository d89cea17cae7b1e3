package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
)

const restPort = "8008"

// node describes node n and writes its configuration.
func (c *Cluster) node(n int) (*Node, error) {
	name := fmt.Sprintf("n%d", n)
	node := &Node{
		Name:     name,
		Postgres: c.slot.postgres("postgres"+name[1:], n),
		RESTAddr: net.JoinHostPort(c.slot.host(n), restPort),
		cluster:  c,
		conf:     filepath.Join(c.slot.dir, "patroni"+name[1:]+".yml"),
		tags:     c.opt.Tags[name],
	}
	if c.opt.EtcdLinks {
		if err := c.linkEtcd(node, n); err != nil {
			return nil, err
		}
	}
	log := filepath.Join(c.slot.dir, "patroni"+name[1:]+".log")
	node.Patroni = &Process{
		Name:    "patroni" + name[1:],
		logPath: log,
		command: func() *exec.Cmd { return c.slot.command("patroni", node.conf) },
		ready:   node.answers,
	}
	node.Postgres.logPath = log // it inherits Patroni's standard error
	return node, errors.Join(
		c.slot.account.mkdir(node.Postgres.SocketDir),
		node.configure(),
		c.slot.account.write(filepath.Join(c.slot.dir, "roles.sql"), rolesSQL),
		c.slot.account.write(c.promotionScript(), promotionHook),
	)
}

// configure writes Patroni's configuration.
func (n *Node) configure() error {
	text, err := json.MarshalIndent(n.cluster.patroniConfig(n), "", "  ")
	if err != nil {
		return fmt.Errorf("lab: configuration of %s: %w", n.Name, err)
	}
	return n.cluster.slot.account.write(n.conf, string(text)) // YAML, as all JSON is
}

// object is a mapping of Patroni's configuration.
type object = map[string]any

// patroniConfig is the configuration of one Patroni; the names are those of
// https://patroni.readthedocs.io/en/latest/yaml_configuration.html.
func (c *Cluster) patroniConfig(node *Node) object {
	return object{
		"scope": c.Scope, "namespace": c.Namespace, "name": node.Name,
		"restapi": object{"listen": node.RESTAddr, "connect_address": node.RESTAddr},
		"etcd3":   c.patroniEtcd(node),
		"bootstrap": object{
			"dcs": c.dynamicConfig(),
			// As in template.go; Patroni says the rest.
			"initdb": []any{
				object{"encoding": "UTF8"}, object{"locale": "C.UTF-8"},
				object{"wal-segsize": "1"}, "data-checksums", "no-sync",
			},
			"post_init": "psql -X -q -f " + filepath.Join(c.slot.dir, "roles.sql"),
		},
		"postgresql": object{
			"listen": node.Postgres.Addr, "connect_address": node.Postgres.Addr,
			"bin_dir": pgBin, "data_dir": node.Postgres.DataDir,
			"pgpass": filepath.Join(c.slot.dir, "pgpass"+node.Name[1:]),
			"authentication": object{
				"superuser":   object{"username": Superuser},
				"replication": object{"username": ReplicationUser, "password": ReplicationPassword},
			},
			"basebackup": []any{"no-sync", object{"checkpoint": "fast"}},
			"pg_hba":     hbaLines(c.opt.HBA),
			"parameters": object{"unix_socket_directories": node.Postgres.SocketDir},
			// Patroni takes no script for none.
			"pre_promote": c.prePromote(),
		},
		"watchdog": object{"mode": "off"},
		"tags":     node.currentTags(),
	}
}

// patroniEtcd says where a node's Patroni finds etcd.
func (c *Cluster) patroniEtcd(node *Node) object {
	if len(node.links) == 0 {
		return object{"hosts": c.EtcdEndpoints()}
	}
	var hosts []string
	for _, l := range node.links {
		hosts = append(hosts, l.Addr)
	}
	// Or else it asks the members for their addresses and goes there.
	return object{"hosts": hosts, "use_proxies": true}
}

// dynamicConfig is what Patroni keeps in etcd's key config.
func (c *Cluster) dynamicConfig() object {
	dcs := object{
		"ttl": 20, "loop_wait": 2, "retry_timeout": 3,
		"postgresql": object{
			"use_pg_rewind": true,
			"parameters":    c.parameters,
		},
	}
	maps.Copy(dcs, c.opt.DCS)
	return dcs
}

// rest asks a node's REST API and returns the status and the decoded answer.
func (n *Node) rest(ctx context.Context, method, path, body string) (int, object, error) {
	status, text, err := request(ctx, method, "http://"+n.RESTAddr+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", n.Name, err)
	}
	var answer object
	if json.Unmarshal(text, &answer) != nil {
		answer = object{"text": string(text)} // some answers are a plain sentence
	}
	return status, answer, nil
}

// answers returns nil when Patroni's REST API does.
func (n *Node) answers(ctx context.Context) error {
	_, _, err := n.rest(ctx, http.MethodGet, "/liveness", "")
	return err
}

// waitRole waits until a health check of Patroni's REST API ("primary",
// "replica") is positive.
func (n *Node) waitRole(ctx context.Context, role string) error {
	err := poll(ctx, statePace, func(ctx context.Context) error {
		status, _, err := n.rest(ctx, http.MethodGet, "/"+role, "")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/%s says %d", role, status)
		}
		if err != nil && !n.Patroni.Running() {
			err = fatal{fmt.Errorf("patroni ended: %w", err)}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: wait for %s: %w\n%s", n.Name, role, err, n.Patroni.Log(20))
	}
	return nil
}
