package corpus

import "strings"

// Setup returns the statements that prepare a cluster for the corpus, to be run
// by a superuser in this order: the first list in any database, the second in
// the new database. They pin every setting the goldens show, so that neither
// the machine's time zone nor its locale is part of them.
func Setup(t Target) (cluster, database []string) {
	user, db := quoteIdent(t.User), quoteIdent(t.Database)
	cluster = []string{
		"CREATE ROLE " + user + " LOGIN PASSWORD " + quoteLiteral(t.Password),
		"CREATE DATABASE " + db + " TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'",
		"ALTER DATABASE " + db + " SET TimeZone = 'Etc/UTC'",
		"ALTER DATABASE " + db + " SET DateStyle = 'ISO, MDY'",
		"ALTER DATABASE " + db + " SET IntervalStyle = 'postgres'",
		"ALTER DATABASE " + db + " SET lc_messages = 'C'",
		"ALTER DATABASE " + db + " SET max_parallel_workers_per_gather = 0",
	}
	database = []string{
		"CREATE SCHEMA corpus",
		"CREATE TABLE corpus.item (id int PRIMARY KEY CHECK (id > 0), v text)",
		"INSERT INTO corpus.item SELECT g, 'item ' || g FROM generate_series(1, 10) g",
		"CREATE TABLE corpus.part (id int, item int REFERENCES corpus.item DEFERRABLE)",
		"CREATE FUNCTION corpus.noisy(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'row %', i; RETURN i; END $$",
		"GRANT USAGE ON SCHEMA corpus TO " + user,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA corpus TO " + user,
		"GRANT CREATE ON SCHEMA corpus TO " + user,
	}
	return cluster, database
}

func quoteIdent(s string) string {
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

func quoteLiteral(s string) string {
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
