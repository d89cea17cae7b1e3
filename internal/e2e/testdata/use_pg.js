// What an application does with node-postgres; prints every result.
'use strict';
const pg = require('pg');

const write = process.argv[2] === 'write';

async function failing(client, query) {
  try {
    await client.query(query);
  } catch (e) {
    console.log(e.code, e.message, e.severity);
  }
}

async function reads(client) {
  console.log((await client.query('SELECT $1::int + 1 AS n, $2::text AS t, $3::bytea AS b, NULL AS z', [1, 'zwei ü', Buffer.from([0, 255])])).rows);
  for (let i = 0; i < 3; i++) { // a named statement is prepared once
    console.log((await client.query({ name: 'next', text: 'SELECT $1::int + 1 AS next', values: [i] })).rows);
  }
  console.log((await client.query({ text: 'SELECT g, repeat(\'r\', g) FROM generate_series(1, 5) g', rowMode: 'array' })).rows);
  console.log((await client.query('SELECT 1 AS a; SELECT 2 AS b')).map((r) => r.rows));
  for (const sql of ['SELECT 1/0', 'SELEC', 'SELECT * FROM nowhere']) {
    await failing(client, sql);
    await failing(client, { text: sql, values: [] });
  }
  await client.query('BEGIN');
  await failing(client, 'SELECT 1/0');
  await failing(client, 'SELECT 1');
  console.log((await client.query('ROLLBACK')).command);
  // All of these are on their way before the first is answered.
  const many = Array.from({ length: 50 }, (_, i) => client.query('SELECT $1::int * 2 AS n', [i]));
  console.log((await Promise.all(many)).map((r) => r.rows[0].n).join(' '));
  console.log((await client.query("SELECT repeat('z', 5000000) AS z")).rows[0].z.length);
}

async function writes(client) {
  await client.query('BEGIN');
  await client.query('CREATE TEMP TABLE t (a int PRIMARY KEY, b text) ON COMMIT DROP');
  for (let i = 0; i < 100; i++) {
    await client.query({ name: 'insert', text: 'INSERT INTO t VALUES ($1, $2)', values: [i, String(i)] });
  }
  console.log((await client.query('SELECT count(*), sum(a) FROM t')).rows);
  await failing(client, { name: 'insert', text: 'INSERT INTO t VALUES ($1, $2)', values: [1, 'again'] });
  console.log((await client.query('ROLLBACK')).command);
  // In every mode: who listens keeps the server.
  const heard = new Promise((resolve) => client.on('notification', (n) => resolve([n.channel, n.payload])));
  await client.query('LISTEN e2e');
  await client.query("NOTIFY e2e, 'heard'");
  console.log(await heard);
}

async function main() {
  const client = new pg.Client();
  client.on('notice', (n) => console.log('notice', n.message));
  await client.connect();
  await reads(client);
  await client.query("DO $$ BEGIN RAISE NOTICE 'noticed'; END $$");
  if (write) await writes(client);
  await client.end();
  const pool = new pg.Pool({ max: 4 });
  const rows = await Promise.all(Array.from({ length: 40 }, (_, i) => pool.query({ name: 'twice', text: 'SELECT $1::int * 2 AS n', values: [i] })));
  console.log(rows.map((r) => r.rows[0].n).join(' '));
  await pool.end();
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
