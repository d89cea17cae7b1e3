"""What an operator's script does with psycopg2; prints what comes back."""
import psycopg2

conn = psycopg2.connect("")
cur = conn.cursor()  # a transaction is begun with the first statement
cur.execute("SHOW VERSION")
print(cur.fetchone())
cur.execute("SHOW POOLS")
print([c.name for c in cur.description][:3], len(cur.fetchall()))
conn.commit()
conn.rollback()
conn.set_session(autocommit=True)
cur.execute("SHOW STATS")
print(cur.fetchall()[0][:4])
try:
    cur.execute("SHOW NONSENSE")
except psycopg2.Error as e:
    print(e.pgcode, e.pgerror.strip())
cur.execute("PAUSE app")
print(cur.statusmessage)
cur.execute("RESUME app")
print(cur.statusmessage)
cur.execute("SET timezone TO 'UTC'")
print(cur.statusmessage, [n.strip() for n in conn.notices])
conn.close()
