//! All that is in a schema, as text to compare.

use eventcore::postgres::tokio_postgres::Client;

/// The definitions in the schema `$1`, one a line, in which names have their schema.
const DEFINITIONS: &str = "
    WITH n AS (SELECT oid FROM pg_namespace WHERE nspname = $1), c AS (SELECT c.* FROM pg_class c, n WHERE relnamespace = n.oid)
    SELECT format('schema: %s %s', nspowner::regrole, nspacl) FROM pg_namespace WHERE nspname = $1
    UNION ALL SELECT format('relation %s: %s %s %s rls=%s/%s options=%s tablespace=%s replica=%s', relname, relkind, relowner::regrole,
                            relacl, relrowsecurity, relforcerowsecurity, reloptions, reltablespace, relreplident) FROM c
    UNION ALL SELECT format('column %s.%s: %s %s not_null=%s default=%s identity=%s generated=%s acl=%s', relname, attname, attnum,
                            format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), attidentity, attgenerated, attacl)
                FROM c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                LEFT JOIN pg_attrdef d ON adrelid = c.oid AND adnum = attnum WHERE relkind NOT IN ('i', 'I')
    UNION ALL SELECT format('partition %s: %s of %s', relname, pg_get_expr(relpartbound, c.oid), inhparent::regclass)
                FROM c JOIN pg_inherits ON inhrelid = c.oid
    UNION ALL SELECT format('partitioned %s: %s', relname, pg_get_partkeydef(c.oid)) FROM c WHERE relkind = 'p'
    UNION ALL SELECT format('index %s: %s', relname, pg_get_indexdef(c.oid)) FROM c WHERE relkind IN ('i', 'I')
    UNION ALL SELECT format('view %s: %s', relname, pg_get_viewdef(c.oid)) FROM c WHERE relkind IN ('v', 'm')
    UNION ALL SELECT format('constraint %s of %s: %s %s', conname, conrelid::regclass, pg_get_constraintdef(o.oid), convalidated)
                FROM pg_constraint o, n WHERE connamespace = n.oid
    UNION ALL SELECT format('trigger of %s: %s', relname, pg_get_triggerdef(t.oid))
                FROM c JOIN pg_trigger t ON tgrelid = c.oid WHERE NOT tgisinternal
    UNION ALL SELECT format('rule of %s: %s', relname, pg_get_ruledef(r.oid)) FROM c JOIN pg_rewrite r ON ev_class = c.oid
    UNION ALL SELECT format('policy %s of %s: %s %s %s %s', polname, relname, polcmd, polpermissive, pg_get_expr(polqual, polrelid),
                            pg_get_expr(polwithcheck, polrelid)) FROM c JOIN pg_policy p ON polrelid = c.oid
    UNION ALL SELECT format('routine %s: %s %s %s', p.oid::regprocedure, proowner::regrole, proacl,
                            CASE WHEN prokind = 'a' THEN 'aggregate' ELSE pg_get_functiondef(p.oid) END)
                FROM pg_proc p, n WHERE pronamespace = n.oid
    UNION ALL SELECT format('aggregate %s: %s %s', aggfnoid, aggtransfn, agginitval)
                FROM pg_aggregate a JOIN pg_proc p ON p.oid = aggfnoid, n WHERE pronamespace = n.oid
    UNION ALL SELECT format('type %s: %s %s %s default=%s acl=%s base=%s', t.oid::regtype, typtype, typowner::regrole, typnotnull,
                            typdefault, typacl, format_type(typbasetype, typtypmod))
                FROM pg_type t, n WHERE typnamespace = n.oid
    UNION ALL SELECT format('enum %s: %s', t.oid::regtype, array_agg(enumlabel ORDER BY enumsortorder))
                FROM pg_type t JOIN pg_enum ON enumtypid = t.oid, n WHERE typnamespace = n.oid GROUP BY t.oid
    UNION ALL SELECT format('range %s: %s', rngtypid::regtype, rngsubtype::regtype)
                FROM pg_range JOIN pg_type t ON t.oid = rngtypid, n WHERE typnamespace = n.oid
    UNION ALL SELECT format('sequence %s: %s %s %s %s %s %s', sequencename, data_type, start_value, increment_by, cycle, cache_size,
                            last_value) FROM pg_sequences WHERE schemaname = $1
    UNION ALL SELECT format('owned %s: by %s.%s', relname, d.refobjid::regclass, d.refobjsubid)
                FROM c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND deptype IN ('a', 'i')
               WHERE relkind = 'S' AND d.refclassid = 'pg_class'::regclass
    UNION ALL SELECT format('operator %s: %s', o.oid::regoperator, oprcode) FROM pg_operator o, n WHERE oprnamespace = n.oid
    UNION ALL SELECT format('collation %s: %s', collname, collcollate) FROM pg_collation, n WHERE collnamespace = n.oid
    UNION ALL SELECT format('text search %s', cfgname) FROM pg_ts_config, n WHERE cfgnamespace = n.oid
    UNION ALL SELECT format('statistics %s: %s', stxname, pg_get_statisticsobjdef(s.oid)) FROM pg_statistic_ext s, n WHERE stxnamespace = n.oid
    UNION ALL SELECT format('comment of %s: %s', relname, description)
                FROM c JOIN pg_description d ON classoid = 'pg_class'::regclass AND objoid = c.oid
    UNION ALL SELECT format('default privileges %s %s: %s', defaclrole::regrole, defaclobjtype, defaclacl)
                FROM pg_default_acl, n WHERE defaclnamespace = n.oid
    ORDER BY 1";

/// Returns the definitions and rows of a schema; its name is replaced.
pub async fn dump(client: &Client, schema: &str) -> String {
    let client = Quiet::new(client).await;
    let mut lines = Vec::new();
    for row in client.0.query(DEFINITIONS, &[&schema]).await.unwrap() {
        lines.push(row.get::<_, String>(0));
    }
    let tables =
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = $1 AND c.relkind IN ('r', 'v', 'm') ORDER BY 1";
    for row in client.0.query(tables, &[&schema]).await.unwrap() {
        let table: String = row.get(0);
        let rows = format!("SELECT r::text FROM \"{schema}\".\"{table}\" r ORDER BY 1");
        for row in client.0.query(&rows, &[]).await.unwrap() {
            lines.push(format!("row of {table}: {}", row.get::<_, String>(0)));
        }
    }
    client.end().await;
    lines.join("\n").replace(schema, "SCHEMA")
}

/// A client on which only the catalog is searched, so that names are printed with their schema.
struct Quiet<'a>(&'a Client);

impl<'a> Quiet<'a> {
    async fn new(client: &'a Client) -> Self {
        let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL search_path = pg_catalog";
        client.batch_execute(sql).await.unwrap();
        Self(client)
    }

    async fn end(self) {
        self.0.batch_execute("COMMIT").await.unwrap();
    }
}
