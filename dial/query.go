package dial

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/jackc/pgproto3/v2"

	"github.com/pgvip/pgvip/wire"
)

// queryBudget bounds the reply to a query in bytes. Queries here are probes and
// look-ups with a few short rows.
const queryBudget = 1 << 20

// Value is one field of a row in text form.
type Value struct {
	Text string
	Null bool
}

// Row is one row of a result.
type Row []Value

// Query runs one simple query, which may hold several statements, and returns
// all their rows, one result after the other. The server's ERROR is a
// *wire.Error, after which the connection can go on; after every other error it
// is closed. When ctx ends, the connection is closed and the server is not
// told: what it runs may run on.
func (c *Conn) Query(ctx context.Context, sql string) ([]Row, error) {
	message, err := (&pgproto3.Query{String: sql}).Encode(nil)
	if err != nil {
		return nil, &Error{Op: OpQuery, Address: c.address, Err: err}
	}
	return c.exchange(ctx, message, "")
}

// QueryParams is Query for one statement with parameters, $1 and so on, which
// go beside the SQL and not in it: no value can change what is asked. The server
// takes the parameters' types from the statement.
func (c *Conn) QueryParams(ctx context.Context, sql string, params ...string) ([]Row, error) {
	bind := &pgproto3.Bind{}
	for _, p := range params {
		bind.Parameters = append(bind.Parameters, []byte(p))
	}
	var batch []byte
	for _, m := range []pgproto3.FrontendMessage{&pgproto3.Parse{Query: sql}, bind,
		&pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{}} {
		var err error
		if batch, err = m.Encode(batch); err != nil {
			return nil, &Error{Op: OpQuery, Address: c.address, Err: err}
		}
	}
	// ParseComplete, BindComplete, NoData.
	return c.exchange(ctx, batch, "12n")
}

// exchange sends a query and collects its rows. empty holds the types of further
// replies that may come and say nothing.
func (c *Conn) exchange(ctx context.Context, message []byte, empty string) ([]Row, error) {
	var rows []Row
	err := c.run(ctx, OpQuery, queryBudget, func() (err error) {
		rows, err = c.rows(message, empty)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func (c *Conn) rows(message []byte, empty string) (rows []Row, err error) {
	if err := c.send(message); err != nil {
		return nil, err
	}
	var refusal *wire.Error
	columns := -1
	for {
		typ, body, err := c.stream.next()
		if err != nil {
			return nil, err
		}
		switch typ {
		case 'T':
			columns, err = columnCount(body)
		case 'D':
			var row Row
			if row, err = parseRow(body, columns); err == nil {
				rows = append(rows, row)
			}
		case 'C', 'I':
			columns = -1
		case 'E':
			if refusal = wire.ParseError(body); refusal.Fatal() {
				return nil, refusal
			}
		case 'Z':
			if err = c.setStatus(body); err == nil && refusal != nil {
				err = refusal
			}
			return rows, err
		default:
			var ok bool
			if ok, err = c.asynchronous(typ, body); !ok && strings.IndexByte(empty, typ) < 0 {
				err = fmt.Errorf("%w: message %q in reply to a query", ErrProtocol, typ)
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// columnCount reads the first field of RowDescription; names and types are of
// no interest to the callers, who know their query.
func columnCount(body []byte) (int, error) {
	if len(body) < 2 {
		return 0, fmt.Errorf("%w: RowDescription of %d bytes", ErrProtocol, len(body))
	}
	return int(binary.BigEndian.Uint16(body)), nil
}

// parseRow reads a DataRow of the announced number of columns. It trusts no
// length (CVE-2026-32286 was a crash on a negative one).
func parseRow(body []byte, columns int) (Row, error) {
	if len(body) < 2 || int(binary.BigEndian.Uint16(body)) != columns {
		return nil, fmt.Errorf("%w: DataRow does not match its RowDescription", ErrProtocol)
	}
	rest := body[2:]
	// Each field has a length word at least: a false count allocates nothing.
	if len(rest) < 4*columns {
		return nil, errTruncatedRow()
	}
	row := make(Row, columns)
	for i := range row {
		if len(rest) < 4 {
			return nil, errTruncatedRow()
		}
		size := int32(binary.BigEndian.Uint32(rest))
		rest = rest[4:]
		if size == -1 {
			row[i].Null = true
			continue
		}
		if size < 0 || int64(size) > int64(len(rest)) {
			return nil, errTruncatedRow()
		}
		row[i].Text = string(rest[:size])
		rest = rest[size:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: DataRow with %d bytes too many", ErrProtocol, len(rest))
	}
	return row, nil
}

func errTruncatedRow() error { return fmt.Errorf("%w: truncated DataRow", ErrProtocol) }
