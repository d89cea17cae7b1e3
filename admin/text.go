package admin

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteText writes a View for a terminal: what "pgvip status" prints.
func WriteText(w io.Writer, v *View) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")) }
	line("pgvip", fmt.Sprintf("%s on %s, cluster %s, up %s", v.Build.Version, v.Host, v.Scope, span(v.At.Sub(v.Started))))
	line("ready", v.readyText())
	line("primary", v.primaryText())
	line(v.Source.Kind, v.sourceText())
	if v.VIP != nil {
		line("virtual IP", v.VIP.text(v.At))
	}
	if v.Cluster != nil {
		line("nodes", v.Cluster.text())
	}
	for _, p := range v.Ports {
		line(p.Role+" port", p.text())
	}
	for _, a := range v.alarmLines() {
		line("ALARM", a.Text)
	}
	// A table has columns of its own.
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(t)
	line("SERVER", "ADDRESS", "ROLE", "STATE", "SINCE", "LAG", "SESSIONS", "IDLE", "QUEUE", "CHECK", "WHY")
	for i := range v.Servers {
		c := v.serverCells(&v.Servers[i])
		cells := []string{c.Name, c.Addr, c.Role, c.Status, c.Since, c.Lag, c.Active, c.Idle, c.Queue, c.Check}
		if c.Why != "" {
			cells = append(cells, c.Why)
		}
		line(cells...)
	}
	if len(v.Servers) == 0 {
		line("none is known yet")
	}
	return t.Flush()
}

func (v *View) readyText() string {
	switch {
	case v.Stopping:
		return "no: stopping"
	case !v.Ready:
		return "no: " + v.NotReady
	default:
		return "yes"
	}
}

func (v *View) primaryText() string {
	since := fmt.Sprintf("for %s, epoch %d", span(v.At.Sub(v.Since)), v.Epoch)
	if v.Primary == nil {
		text := "NONE " + since + ": " + v.Reason
		if v.Candidate != "" {
			text += " (candidate " + v.Candidate + ")"
		}
		return text
	}
	text := v.Primary.Name + " (" + v.Primary.Addr + ") " + since
	if v.Hold != nil {
		text += "; a switchover is announced: new transactions wait"
	}
	return text
}

func (v *View) sourceText() string {
	text := v.Source.Freshness
	if v.Source.Age >= 0 {
		text += ", last news " + age(v.Source.Age) + " ago"
	}
	if len(v.Modes) > 0 {
		text += "; cluster: " + strings.Join(v.Modes, ", ")
	}
	return text
}

func (p *Port) text() string {
	text := "none"
	if len(p.Addresses) > 0 {
		text = strings.Join(p.Addresses, ", ")
	}
	text += ": " + strconv.Itoa(p.Clients) + " clients"
	if p.Waiting > 0 {
		text += fmt.Sprintf(", %d wait, the longest %s", p.Waiting, wait(p.MaxWait))
	}
	return text
}
