package admin

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// haproxyColumns are those of HAProxy 2.6's statistics, in their order. Programs
// that read them go by name, by index and by their number, so none may be left
// out; what has no meaning here stays empty.
const haproxyColumns = "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis," +
	"status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim," +
	"rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail," +
	"req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime," +
	"ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,check_fall,check_health," +
	"agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew," +
	"connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur," +
	"safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,agg_server_check_status,agg_check_status,-," +
	"ssl_sess,ssl_reused_sess,ssl_failed_handshake,h2_headers_rcvd,h2_data_rcvd,h2_settings_rcvd,h2_rst_stream_rcvd," +
	"h2_goaway_rcvd,h2_detected_conn_protocol_errors,h2_detected_strm_protocol_errors,h2_rst_stream_resp,h2_goaway_resp," +
	"h2_open_connections,h2_backend_open_streams,h2_total_connections,h2_backend_total_streams,h1_open_connections," +
	"h1_open_streams,h1_total_connections,h1_total_streams,h1_bytes_in,h1_bytes_out,h1_spliced_bytes_in,h1_spliced_bytes_out"

// proxyNames are HAProxy's "proxies": those of Patroni's sample configuration.
var proxyNames = map[string]string{rolePrimary: "primary", roleReplica: "replicas"}

// HAProxy's types of rows.
const (
	typeFrontend = iota
	typeBackend
	typeServer
)

// haRow is one row by the names of its columns. A value is a string, an int or a
// uint64; a column that is missing is empty.
type haRow map[string]any

// haproxy answers HAProxy's URLs: the path is followed by options.
func (s *HTTP) haproxy(w http.ResponseWriter, r *http.Request, options []string) {
	switch {
	case slices.Contains(options, "csv"):
		v := s.gather.view(r.Context())
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(v.csv())
	case slices.Contains(options, "json"):
		v := s.gather.view(r.Context())
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v.typed())
	default:
		s.pageWith(w, r, slices.Contains(options, "norefresh"))
	}
}

// csv gives HAProxy's table.
func (v *View) csv() []byte {
	var b bytes.Buffer
	b.WriteString("# " + haproxyColumns + ",\n")
	columns := strings.Split(haproxyColumns, ",")
	out := csv.NewWriter(&b)
	for _, row := range v.haRows() {
		line := make([]string, len(columns)+1) // one more: each line ends with a comma
		for i, name := range columns {
			if x, ok := row[name]; ok {
				line[i] = fmt.Sprint(x)
			}
		}
		line[slices.Index(columns, "-")] = "-"
		_ = out.Write(line) // into memory
	}
	out.Flush()
	return b.Bytes()
}

// haRows gives for each port its FRONTEND, one row for each server, and BACKEND
// last.
func (v *View) haRows() []haRow {
	var rows []haRow
	for i := range v.Ports {
		p := &v.Ports[i]
		servers := make([]haRow, 0, len(v.Servers))
		back := haRow{"qcur": p.Waiting, "scur": 0, "stot": uint64(0), "bin": uint64(0), "bout": uint64(0), "lbtot": uint64(0)}
		active, backup, weight := 0, 0, 0
		for j := range v.Servers {
			row := v.serverRow(&v.Servers[j], p.Role)
			servers = append(servers, row.place(p, i, j+1, typeServer))
			back.sum(row, "stot", "bin", "bout", "lbtot")
			back["scur"] = back["scur"].(int) + row["scur"].(int)
			if serving(row["status"].(string)) {
				active, backup, weight = active+row["act"].(int), backup+row["bck"].(int), weight+row["weight"].(int)
			}
		}
		back["status"], back["act"], back["bck"], back["weight"] = "DOWN", active, backup, weight
		if active+backup > 0 {
			back["status"] = "UP"
		}
		if p.Role == rolePrimary {
			back["lastchg"] = whole(v.At.Sub(v.Since))
		}
		front := haRow{
			"scur": p.Clients, "slim": p.Limit, "stot": p.Logins, "bin": back["bin"], "bout": back["bout"],
			"conn_tot": p.Logins, "status": "OPEN",
		}
		if v.Stopping {
			front["status"] = "STOP"
		}
		front["svname"], back["svname"], back["algo"] = "FRONTEND", "BACKEND", p.Balance
		rows = append(rows, front.place(p, i, 0, typeFrontend))
		rows = append(rows, servers...)
		rows = append(rows, back.place(p, i, 0, typeBackend))
	}
	return rows
}

// place fills in what every row has: which it is of which proxy.
func (r haRow) place(p *Port, proxy, number, kind int) haRow {
	r["pxname"], r["pid"], r["iid"], r["sid"], r["type"], r["mode"] = proxyNames[p.Role], 1, proxy+2, number, kind, "tcp"
	return r
}

func (r haRow) sum(o haRow, names ...string) {
	for _, name := range names {
		r[name] = r[name].(uint64) + o[name].(uint64)
	}
}

// serving reports a status under which clients are led to the server.
func serving(status string) bool {
	return strings.HasPrefix(status, "UP") || status == "no check"
}

func (v *View) serverRow(s *Server, role string) haRow {
	use, serves := &s.Replica, s.Reads
	if role == rolePrimary {
		use, serves = &s.Primary, s.Writes
	}
	row := haRow{
		"svname": s.Name, "qcur": use.Waiting, "scur": use.Active, "stot": use.Assignments, "lbtot": use.Assignments,
		"bin": use.Received, "bout": use.Sent, "status": s.status(role, serves), "weight": s.Weight, "uweight": s.Weight,
		"act": 1, "bck": 0, "addr": s.Addr, "idle_conn_cur": use.Idle, "used_conn_cur": use.Active,
		"check_rise": s.Check.Rise, "check_fall": s.Check.Fall, "check_health": s.Check.Health,
		"chkfail": s.Check.Failures, "chkdown": s.Downs, "downtime": int(s.Downtime),
	}
	if role == roleReplica && s.Writes && s.Reads {
		row["act"], row["bck"] = 0, 1 // the primary reads only where no replica does
	}
	if !s.Since.IsZero() {
		row["lastchg"] = whole(v.At.Sub(s.Since))
	}
	if serves && s.Throttle < 100 {
		row["throttle"] = s.Throttle
	}
	if s.Limit > 0 {
		row["slim"] = s.Limit
	}
	s.checkColumns(row, serves)
	return row
}

// status gives HAProxy's word.
func (s *Server) status(role string, serves bool) string {
	c := &s.Check
	switch {
	case s.Admin == "maint":
		return "MAINT"
	case s.Admin == "drain":
		return "DRAIN"
	case serves && s.State == Unprobed:
		return "no check"
	case serves && c.Health > c.Rise-1 && c.Health < c.Rise+c.Fall-1:
		return fmt.Sprintf("UP %d/%d", c.Health-c.Rise+1, c.Fall)
	case serves:
		return "UP"
	case s.State == Down && c.Health > 0 && c.Health < c.Rise:
		return fmt.Sprintf("DOWN %d/%d", c.Health, c.Rise)
	case s.State == Up && s.Drained && role == roleReplica:
		return "NOLB"
	default:
		return "DOWN"
	}
}

// checkColumns tells of the last check. A server that answers and yet is not the
// one for this role has HAProxy's word for an answer of the wrong status, which is
// what Patroni's REST interface would have given.
func (s *Server) checkColumns(row haRow, serves bool) {
	c := &s.Check
	status, code, text := c.Status, c.Code, c.Report
	if s.State == Up && !serves && strings.HasSuffix(status, "OK") {
		status, code, text = "L7STS", http.StatusServiceUnavailable, s.Out
	}
	if c.Error != "" {
		text = c.Error
	}
	if text == "" {
		text = s.Role
	}
	row["check_status"], row["last_chk"] = status, text
	if desc := checkTexts[status]; desc != "" {
		row["check_desc"] = desc
	}
	if code != 0 {
		row["check_code"] = code
	}
	if !c.At.IsZero() {
		row["check_duration"] = int(math.Round(c.Took * 1000))
	}
}

// checkTexts are HAProxy's own.
var checkTexts = map[string]string{
	"UNK": "Unknown", "INI": "Initializing", "SOCKERR": "Socket error",
	"L4OK": "Layer4 check passed", "L4TOUT": "Layer4 timeout", "L4CON": "Layer4 connection problem",
	"L6OK": "Layer6 check passed", "L6TOUT": "Layer6 timeout", "L6RSP": "Layer6 invalid response",
	"L7OK": "Layer7 check passed", "L7OKC": "Layer7 check conditionally passed", "L7TOUT": "Layer7 timeout",
	"L7RSP": "Layer7 invalid response", "L7STS": "Layer7 wrong status",
}

func whole(d time.Duration) int { return int(max(d, 0) / time.Second) }

// haField is one field of HAProxy's typed form.
type haField struct {
	ObjType    string  `json:"objType"`
	ProxyID    int     `json:"proxyId"`
	ID         int     `json:"id"`
	Field      haName  `json:"field"`
	ProcessNum int     `json:"processNum"`
	Tags       haTags  `json:"tags"`
	Value      haValue `json:"value"`
}

type haName struct {
	Pos  int    `json:"pos"`
	Name string `json:"name"`
}

type haTags struct {
	Origin string `json:"origin"`
	Nature string `json:"nature"`
	Scope  string `json:"scope"`
}

type haValue struct {
	Type  string `json:"type"`
	Value any    `json:"value"`
}

// typed gives HAProxy's "show stat json": for each row its fields that are not
// empty.
func (v *View) typed() [][]haField {
	columns := strings.Split(haproxyColumns, ",")
	var all [][]haField
	for _, row := range v.haRows() {
		var fields []haField
		for pos, name := range columns {
			x, ok := row[name]
			if !ok {
				continue
			}
			fields = append(fields, haField{
				ObjType: [...]string{"Frontend", "Backend", "Server"}[row["type"].(int)], ProxyID: row["iid"].(int), ID: row["sid"].(int),
				Field: haName{pos, name}, ProcessNum: 1, Tags: tagsOf(name, x), Value: valueOf(x),
			})
		}
		all = append(all, fields)
	}
	return all
}

func valueOf(x any) haValue {
	switch x := x.(type) {
	case string:
		return haValue{"str", x}
	case uint64:
		return haValue{"u64", x}
	default:
		return haValue{"u32", x}
	}
}

func tagsOf(name string, x any) haTags {
	t := haTags{Origin: "Metric", Nature: "Gauge", Scope: "Service"}
	_, isText := x.(string)
	_, isTotal := x.(uint64)
	switch {
	case name == "pxname" || name == "svname" || name == "type" || name == "pid" || name == "iid" || name == "sid":
		t.Origin, t.Nature = "Key", "Name"
	case isText:
		t.Origin, t.Nature = "Status", "Output"
	case isTotal:
		t.Nature = "Counter"
	case name == "slim" || name == "weight" || name == "uweight" || strings.HasPrefix(name, "check_r") || name == "check_fall":
		t.Origin, t.Nature = "Config", "Limit"
	case name == "lastchg" || name == "downtime":
		t.Nature = "Age"
	case name == "check_duration":
		t.Nature = "Duration"
	}
	return t
}
