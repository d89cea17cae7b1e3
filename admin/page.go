package admin

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

const (
	shownPools     = 50 // those with the most trouble first; the rest is in JSON
	shownDecisions = 40

	policyOfNothing = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// pages renders the page. Use newPages.
type pages struct {
	template *template.Template
	policy   string // of contents: our own style and nothing else
}

func newPages() pages {
	sum := sha256.Sum256([]byte(pageStyle))
	return pages{
		template: template.Must(template.New("page").Parse(pageText)),
		policy:   policyOfNothing + "; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
	}
}

func (s *HTTP) page(w http.ResponseWriter, r *http.Request) { s.pageWith(w, r, false) }

func (s *HTTP) pageWith(w http.ResponseWriter, r *http.Request, still bool) {
	v := s.gather.view(r.Context())
	refresh := s.opts.Rules().Refresh
	if still {
		refresh = 0
	}
	var b bytes.Buffer
	if err := s.pages.render(&b, &v, refresh); err != nil {
		s.opts.Log.Error("operators' page", zap.Error(err))
		say(w, http.StatusInternalServerError, "The page could not be made; the log says why.")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", s.pages.policy)
	_, _ = w.Write(b.Bytes())
}

func (s *HTTP) json(w http.ResponseWriter, r *http.Request) {
	v := s.gather.view(r.Context())
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(&v)
}

// sheet is a View in words, as the page shows it.
type sheet struct {
	View    *View
	Style   template.CSS
	Refresh int // seconds, 0 for never

	Title                 string
	ReadyWord, ReadyClass string
	Tiles                 []tile
	Alarms                []alarm
	VIP                   *vipCells
	Servers               []serverCells
	Endpoints             []endpointCells
	Pools                 []Pool
	MorePools             int
	Databases             []databaseCells
	MoreDatabases         int
	Decisions             []decisionCells
	Commit, Uptime, Seen  string
	LoadText              string
}

type tile struct {
	Name, Big, Class string
	Small            []string
}

type alarm struct{ Text, Class string }

type serverCells struct {
	Name, Addr, Role, Status, Class, Why, Since, Lag, LagTime string
	Active, Idle, Queue                                       string
	MaxWait, Check, CheckAge, Admin                           string
	Weight                                                    int
}

type endpointCells struct {
	Name, Age, Error string
	InUse            bool
}

type databaseCells struct {
	Name, P50, P99, WaitP99, In, Out, State string
	Clients, Servers                        int
	Xacts                                   uint64
}

type decisionCells struct {
	Time, Ago, Kind, Server, Reason, Took string
	Epoch                                 uint64
	Alarm                                 bool
}

func (p *pages) render(b *bytes.Buffer, v *View, refresh time.Duration) error {
	return p.template.Execute(b, newSheet(v, refresh))
}

func newSheet(v *View, refresh time.Duration) *sheet {
	s := &sheet{
		View: v, Style: template.CSS(pageStyle), Refresh: int(refresh / time.Second),
		ReadyWord: "ready", ReadyClass: "up",
		Commit: v.Build.Commit[:min(len(v.Build.Commit), 12)], Uptime: span(v.At.Sub(v.Started)), Seen: v.At.UTC().Format("2006-01-02 15:04:05 UTC"),
	}
	switch {
	case v.Stopping:
		s.ReadyWord, s.ReadyClass = "stopping", "off"
	case !v.Ready:
		s.ReadyWord, s.ReadyClass = "not ready", "warn"
	}
	s.Title = "pgvip " + v.Scope + ": " + s.headline()
	s.Tiles = []tile{v.primaryTile(), v.sourceTile(), v.clientsTile(), v.serversTile()}
	if v.VIP != nil {
		s.Tiles = append([]tile{v.vipTile()}, s.Tiles...)
	}
	s.Alarms, s.VIP = v.alarmLines(), v.vipCells()
	for i := range v.Servers {
		s.Servers = append(s.Servers, v.serverCells(&v.Servers[i]))
	}
	for _, e := range v.Source.Endpoints {
		s.Endpoints = append(s.Endpoints, endpointCells{e.Name, age(e.Age), e.Error, e.InUse})
	}
	s.Pools, s.MorePools = urgent(v.Pools)
	shown := min(len(v.Databases), shownPools)
	s.MoreDatabases = len(v.Databases) - shown
	for i := range v.Databases[:shown] {
		s.Databases = append(s.Databases, v.Databases[i].cells())
	}
	for _, d := range v.Decisions[:min(len(v.Decisions), shownDecisions)] {
		s.Decisions = append(s.Decisions, v.decisionCells(&d))
	}
	s.LoadText = "sessions and pools: now"
	if v.LoadAge < 0 {
		s.LoadText = "sessions and pools: not known yet"
	} else if v.LoadAge >= 2 {
		s.LoadText = "sessions and pools: " + age(v.LoadAge) + " ago"
	}
	return s
}

// headline is what a browser's tab shows.
func (s *sheet) headline() string {
	switch v := s.View; {
	case v.Primary != nil:
		return v.Primary.Name
	case v.Hold != nil:
		return "switchover"
	default:
		return "NO PRIMARY"
	}
}

// Wait gives a time that clients wait.
func (s *sheet) Wait(seconds float64) string { return wait(seconds) }

// High is where a meter begins to warn.
func (s *sheet) High(limit int) int { return limit * 9 / 10 }

// urgent gives the pools to show, those where clients wait first.
func urgent(all []Pool) ([]Pool, int) {
	list := slices.Clone(all)
	slices.SortStableFunc(list, func(a, b Pool) int {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(b.Active, a.Active))
	})
	n := min(len(list), shownPools)
	return list[:n], len(list) - n
}

func (v *View) primaryTile() tile {
	since := "for " + span(v.At.Sub(v.Since)) + ", epoch " + strconv.FormatUint(v.Epoch, 10)
	switch {
	case v.Primary != nil && v.Hold != nil:
		return tile{"Primary", v.Primary.Name, "hold", []string{v.Primary.Addr, "a switchover is announced: new transactions wait"}}
	case v.Primary != nil:
		return tile{"Primary", v.Primary.Name, "up", []string{v.Primary.Addr, since}}
	default:
		small := []string{v.Reason, since}
		if v.Candidate != "" {
			small = append(small, "candidate "+v.Candidate)
		}
		return tile{"Primary", "none", "down", small}
	}
}

func (v *View) sourceTile() tile {
	class := map[string]string{"FRESH": "up", "STALE": "warn", "BLIND": "down"}[v.Source.Freshness]
	small := []string{"last news " + age(v.Source.Age) + " ago"}
	if v.Source.Age < 0 {
		small = []string{"no news yet"}
	}
	if v.Source.Age >= 0 && v.Source.Freshness != "FRESH" {
		small = append(small, "routes stay as they are while SQL agrees")
	}
	if len(v.Modes) > 0 {
		small = append(small, "cluster: "+strings.Join(v.Modes, ", "))
	}
	return tile{v.Source.Kind, v.Source.Freshness, class, small}
}

func (v *View) clientsTile() tile {
	clients, waiting, longest := 0, 0, 0.0
	small := []string{}
	for _, p := range v.Ports {
		clients, waiting, longest = clients+p.Clients, waiting+p.Waiting, max(longest, p.MaxWait)
		if len(p.Addresses) > 0 {
			small = append(small, fmt.Sprintf("%s %s: %d", p.Role, strings.Join(p.Addresses, ", "), p.Clients))
		}
	}
	t := tile{"Clients", strconv.Itoa(clients), "up", small}
	if waiting > 0 {
		t.Class = "warn"
		t.Small = append([]string{fmt.Sprintf("%d wait, the longest %s", waiting, wait(longest))}, t.Small...)
	}
	return t
}

func (v *View) serversTile() tile {
	up, reads := 0, 0
	for i := range v.Servers {
		if v.Servers[i].State == Up {
			up++
		}
		if v.Servers[i].Reads {
			reads++
		}
	}
	t := tile{"Servers", fmt.Sprintf("%d of %d up", up, len(v.Servers)), "up", []string{"reads go to " + strconv.Itoa(reads)}}
	switch {
	case up == 0:
		t.Class = "down"
	case up < len(v.Servers) || reads == 0:
		t.Class = "warn"
	}
	return t
}

func (v *View) alarmLines() []alarm {
	var list []alarm
	for _, text := range v.Alarms {
		list = append(list, alarm{text, "down"})
	}
	if v.Source.Error != "" && v.Source.Freshness != "FRESH" {
		list = append(list, alarm{v.Source.Error, ""})
	}
	if v.LoadError != "" {
		list = append(list, alarm{v.LoadError, ""})
	}
	return list
}

func (v *View) serverCells(s *Server) serverCells {
	c := serverCells{
		Name: s.Name, Addr: s.Addr, Role: s.Role, Since: since(v.At, s.Since), Why: s.Out, Lag: "–",
		Active: strconv.Itoa(s.Primary.Active + s.Replica.Active), Idle: strconv.Itoa(s.Primary.Idle + s.Replica.Idle),
		Queue: strconv.Itoa(s.Primary.Waiting + s.Replica.Waiting), Weight: s.Weight, Admin: s.Admin,
		Check: s.Check.Status + " in " + took(s.Check.Took), CheckAge: since(v.At, s.Check.At) + " ago",
	}
	if s.Check.At.IsZero() {
		c.Check, c.CheckAge = "none yet", ""
	}
	if s.Check.Error != "" && !strings.Contains(s.Out, s.Check.Error) {
		c.Why = strings.TrimPrefix(c.Why+": "+s.Check.Error, ": ")
	}
	if s.Lag >= 0 && !s.Writes {
		c.Lag = size(s.Lag)
		if s.LagTime > 0 {
			c.LagTime = wait(s.LagTime)
		}
	}
	if longest := max(s.Primary.MaxWait, s.Replica.MaxWait); longest > 0 {
		c.MaxWait = wait(longest)
	}
	c.Status, c.Class = s.word()
	return c
}

// word gives the state that the page shows, and its colour.
func (s *Server) word() (text, class string) {
	role, serves := roleReplica, s.Reads
	if s.Writes {
		role, serves = rolePrimary, true
	}
	text = s.status(role, serves)
	switch {
	case text == "UP" && s.Throttle < 100:
		return fmt.Sprintf("UP, at %d %%", s.Throttle), "up"
	case text == "UP":
		return text, "up"
	case text == "MAINT":
		return text, "off"
	case text == "DRAIN" || text == "NOLB":
		return text, "hold"
	case text == "no check":
		return text, ""
	case strings.Contains(text, "/"):
		return text, "warn"
	case s.State == Up:
		// It lives, and nobody is led there: a candidate, or one of another kind.
		return "up, not used", "warn"
	default:
		return text, "down"
	}
}

func (d *Database) cells() databaseCells {
	t := &d.Traffic
	c := databaseCells{
		Name: d.Name, Clients: d.Clients, Servers: d.Conns, Xacts: t.Xacts, P50: "–", P99: "–", WaitP99: "–",
		In: size(int64(t.Received)), Out: size(int64(t.Sent)),
	}
	if t.Queries > 0 {
		c.P50, c.P99 = took(t.QueryP50), took(t.QueryP99)
	}
	if t.WaitP99 > 0 {
		c.WaitP99 = took(t.WaitP99)
	}
	switch {
	case d.Paused:
		c.State = "paused"
	case d.Off:
		c.State = "disabled"
	}
	return c
}

func (v *View) decisionCells(d *Decision) decisionCells {
	c := decisionCells{
		Time: d.At.UTC().Format("15:04:05.000"), Ago: since(v.At, d.At), Kind: d.Kind, Server: d.Server, Reason: d.Reason,
		Epoch: d.Epoch, Alarm: d.Alarm,
	}
	if v.At.Sub(d.At) > 12*time.Hour {
		c.Time = d.At.UTC().Format("2006-01-02 15:04:05")
	}
	if d.Took > 0 {
		c.Took = wait(d.Took)
	}
	return c
}
