-- A host as a person imagined it who had read documents 02 and 03 alone, and nothing of this project: no name, type or
-- row of it was chosen to be adopted. Load it as a superuser into an empty database.
SET client_min_messages = warning;
DO $$ DECLARE r text; BEGIN
  FOREACH r IN ARRAY ARRAY['stranger_owner','stranger_queue','stranger_readonly'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN EXECUTE format('CREATE ROLE %I NOLOGIN', r); END IF;
  END LOOP;
  FOREACH r IN ARRAY ARRAY['stranger_app','stranger_migrator'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN EXECUTE format('CREATE ROLE %I LOGIN', r); END IF;
  END LOOP;
END $$;
GRANT stranger_owner, stranger_queue TO stranger_migrator;
GRANT USAGE, CREATE ON SCHEMA public TO stranger_owner, stranger_queue;
GRANT USAGE ON SCHEMA public TO stranger_app, stranger_readonly;
ALTER DEFAULT PRIVILEGES FOR ROLE stranger_owner, stranger_queue IN SCHEMA public GRANT SELECT ON TABLES TO stranger_readonly;
SET ROLE stranger_owner;
CREATE FUNCTION fn_touch_date_updated() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.date_updated := now(); RETURN NEW; END $$;
CREATE FUNCTION fn_ledger_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$;

-- configuration -------------------------------------------------------------------------------------------------------
CREATE TABLE dot_config (
  key varchar(160) PRIMARY KEY, value text, value_type varchar(16) NOT NULL DEFAULT 'string'
    CHECK (value_type IN ('string','boolean','integer','json')),
  description text, updated_by varchar(80) NOT NULL DEFAULT CURRENT_USER, date_updated timestamptz NOT NULL DEFAULT now());
COMMENT ON TABLE dot_config IS 'Runtime switches and parameters of the DOT layer; values are text, see value_type';
CREATE TABLE dot_config_history (
  id bigserial PRIMARY KEY, key varchar(160) NOT NULL, old_value text, new_value text, changed_by text NOT NULL, changed_at timestamptz NOT NULL DEFAULT now());
CREATE FUNCTION fn_dot_config_audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO dot_config_history(key, old_value, new_value, changed_by) VALUES (NEW.key, OLD.value, NEW.value, session_user); RETURN NULL;
END $$;
INSERT INTO dot_config(key, value, value_type, description, updated_by, date_updated) VALUES
 ('iu_core.operator_runtime_enabled','false','boolean','MASTER no-execute toggle for the operator runtime','ops','2025-09-30 08:00+00'),
 ('iu_core.max_batch_size','200','integer','Units per IU command','ops','2025-09-30 08:00+00'),
 ('iu_core.lease_default_ttl_s','900','integer','Default lease TTL in seconds','ops','2025-09-30 08:00+00'),
 ('process_dot_runtime.execute_enabled','false','boolean','Second gate: DOT execution','wrapper-macro','2025-11-20 09:12+00'),
 ('process_dot_runtime.real_run_enabled','false','boolean','Allow evidence_type REAL_RUN','wrapper-macro','2025-11-20 09:12+00'),
 ('process_dot_runtime.default_ttl_s','600','integer',NULL,'wrapper-macro','2025-11-20 09:12+00'),
 ('queue.worker.enabled','false','boolean','job_queue worker on/off','ops','2025-10-04 16:40+00'),
 ('queue.worker.concurrency','2','integer',NULL,'ops','2025-10-04 16:40+00'),
 ('queue.retry.backoff','{"base_s": 30, "factor": 2, "max_s": 3600}','json',NULL,'ops','2025-10-04 16:40+00'),
 ('preflight.fs_snapshot_max_age_h','24','integer','fs snapshot older than this counts as absent','ops','2025-10-11 07:00+00'),
 ('outbox.publisher.batch','100','integer',NULL,'ops','2025-08-02 10:00+00'),
 ('kg.agent_api.base_url','https://agent.internal.example/api/v1','string','Declared only, not called by any code','kg','2025-07-15 10:00+00'),
 ('kg.agent_api.timeout_ms','30000','integer',NULL,'kg','2025-07-15 10:00+00'),
 ('cut.default_profile','standard','string',NULL,'cut','2025-08-19 10:00+00'),
 ('ui.dashboard.banner',NULL,'string','Text on top of the dashboard','web','2025-06-01 10:00+00');
CREATE TRIGGER trg_dot_config_touch BEFORE UPDATE ON dot_config FOR EACH ROW EXECUTE FUNCTION fn_touch_date_updated();
CREATE TRIGGER trg_dot_config_audit AFTER UPDATE OF value ON dot_config FOR EACH ROW WHEN (OLD.value IS DISTINCT FROM NEW.value) EXECUTE FUNCTION fn_dot_config_audit();
CREATE FUNCTION fn_dot_config_bool(p_key text) RETURNS boolean LANGUAGE sql STABLE AS
 $$ SELECT coalesce((SELECT lower(c.value) IN ('true','on','1','yes') FROM public.dot_config c WHERE c.key = p_key), false) $$;

-- DOT catalogue: 303 rows, 119 with a path ------------------------------------------------------------------------------
CREATE TYPE dot_status AS ENUM ('draft','published','deprecated');
CREATE TABLE dot_domains (code varchar(32) PRIMARY KEY, name varchar(120) NOT NULL, "order" integer);
INSERT INTO dot_domains SELECT c, initcap(c), n * 10 FROM unnest(ARRAY['kg','iu','cut','process','registry','law','backup','deploy','docs','schema','health','vector','web','agent','audit','queue']) WITH ORDINALITY t(c, n);
CREATE TABLE dot_tools (
  id serial PRIMARY KEY, code varchar(100) NOT NULL, name varchar(255) NOT NULL, description text,
  status dot_status NOT NULL DEFAULT 'published',
  domain varchar(32) REFERENCES dot_domains(code) ON UPDATE CASCADE, dot_role varchar(20) CHECK (dot_role IN ('producer','verifier','utility')),
  execution_engine varchar(40), script_path varchar(500), file_path varchar(500),
  trigger_type varchar(30), cron_schedule varchar(60), paired_dot varchar(100),
  settings jsonb NOT NULL DEFAULT '{}', tags text[], usage_count integer DEFAULT 0, last_executed timestamptz,
  "_dot_origin" varchar(64), owner_user uuid, sort integer, date_created timestamptz NOT NULL DEFAULT now(), date_updated timestamptz,
  CONSTRAINT dot_tools_code_unique UNIQUE (code));
INSERT INTO dot_tools(code, name, description, domain, dot_role, execution_engine, trigger_type, settings, tags, "_dot_origin", date_created)
SELECT format('DOT_KG_%s_%s%s', v, o, CASE r WHEN 2 THEN '_VERIFY' END), initcap(format('KG %s %s%s', v, o, CASE r WHEN 2 THEN ' (verify)' END)),
       'Declared capability, meant to be invoked through the agent API', 'kg', CASE r WHEN 1 THEN 'producer' ELSE 'verifier' END, 'agent_api',
       CASE WHEN r = 2 THEN 'dual' WHEN v = 'REFRESH' THEN 'cron' ELSE 'dual' END,
       CASE r WHEN 1 THEN '{"writes": ["universal_edges"], "endpoint": "/kg/run"}'::jsonb ELSE '{"endpoint": "/kg/verify"}' END, ARRAY['kg', lower(v)], 'kg-pack-1', '2025-07-15 10:00+00'
FROM unnest(ARRAY['EXTRACT','LINK','MERGE','REFRESH','SCORE']) v, unnest(ARRAY['ENTITY','EDGE','TOPIC','CITATION','LAW','TERM']) o, generate_series(1, 2) r;   -- 60
INSERT INTO dot_tools(code, name, domain, dot_role, execution_engine, trigger_type, "_dot_origin", date_created)
SELECT format('DOT_%s_%s', upper(d), v), initcap(d || ' ' || v), d, CASE v WHEN 'VERIFY' THEN 'verifier' WHEN 'LIST' THEN 'utility' ELSE 'producer' END,
       CASE d WHEN 'iu' THEN 'sql_function' ELSE 'agent_api' END, CASE v WHEN 'SYNC' THEN 'event' ELSE 'on_demand' END, 'core', '2025-08-20 10:00+00'
FROM (SELECT d, v FROM unnest(ARRAY['iu','cut','process','registry','law','vector']) d, unnest(ARRAY['CREATE','CUT','VERIFY','SYNC','LIST','REVIEW','PUBLISH','RETIRE']) v ORDER BY d, v LIMIT 47) x;  -- 47
INSERT INTO dot_tools(code, name, domain, dot_role, execution_engine, script_path, file_path, trigger_type, cron_schedule, status, date_created)
SELECT c, initcap(replace(c, '-', ' ')), d, 'utility', CASE WHEN n <= 78 THEN 'bash' WHEN n <= 119 THEN 'node' WHEN n % 3 = 0 THEN 'agent_api' END,
       CASE WHEN n <= 97 THEN '/opt/dot/bin/' || c END, CASE WHEN n BETWEEN 79 AND 119 THEN 'dot/tools/' || d || '/' || c || '.ts' END,
       (ARRAY['manual','cron','on_demand','event', NULL])[1 + n % 5], CASE WHEN n % 5 = 1 THEN format('%s %s * * *', n % 60, n % 6) END,
       (CASE WHEN n % 29 = 0 THEN 'deprecated' WHEN n > 185 THEN 'draft' ELSE 'published' END)::dot_status, '2025-06-01 10:00+00'::timestamptz + n * interval '7 hours'
FROM (SELECT row_number() OVER (ORDER BY v, d) AS n, format('dot-%s-%s', d, v) AS c, d
      FROM unnest(ARRAY['cut','process','registry','law','backup','deploy','docs','schema','health','vector','web','agent','audit','queue']) d,
           unnest(ARRAY['apply','build','check','clean','diff','export','import','list','report','repair','scan','sync','verify','watch']) v) x;                  -- 196
UPDATE dot_tools p SET paired_dot = v.code FROM dot_tools v WHERE v.code = p.code || '_VERIFY';
UPDATE dot_tools v SET paired_dot = p.code FROM dot_tools p WHERE v.code = p.code || '_VERIFY';
UPDATE dot_tools SET sort = id, usage_count = CASE WHEN id % 4 = 0 THEN NULL ELSE 0 END, last_executed = CASE WHEN id <= 214 THEN '2025-10-02 03:00+00'::timestamptz END;  -- backfill
ALTER TABLE dot_tools ADD CONSTRAINT dot_tools_paired_dot_fk FOREIGN KEY (paired_dot) REFERENCES dot_tools(code) DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX dot_tools_domain_idx ON dot_tools(domain);
CREATE INDEX dot_tools_settings_gin ON dot_tools USING gin (settings jsonb_path_ops);
CREATE TRIGGER trg_dot_tools_touch BEFORE UPDATE ON dot_tools FOR EACH ROW EXECUTE FUNCTION fn_touch_date_updated();
COMMENT ON TABLE dot_tools IS 'Catalogue of DOTs (declared tools). Metadata only: nothing executes from here';
COMMENT ON COLUMN dot_tools.last_executed IS 'Backfilled 2025-10-02, NOT a real run time';
COMMENT ON COLUMN dot_tools.paired_dot IS 'Producer/verifier counterpart';
CREATE TABLE "dot_tools_bak_2025-10-02" AS SELECT id, code, name, script_path, file_path, usage_count FROM dot_tools WHERE id <= 290;

-- IU command layer: catalogue, ledger (55 rows, 9 refused), leases, preflight ---------------------------------------------
CREATE TABLE dot_iu_command_catalog (
  command_name varchar(120) PRIMARY KEY, title text NOT NULL, mutating boolean NOT NULL, handler_fn text, is_active boolean NOT NULL DEFAULT true, date_created timestamptz NOT NULL DEFAULT now());
INSERT INTO dot_iu_command_catalog(command_name, title, mutating, handler_fn) VALUES
 ('iu.create','Create information unit',true,'fn_iu_create'), ('iu.split','Split unit',true,'fn_iu_split'), ('iu.merge','Merge units',true,NULL),
 ('iu.retire','Retire unit',true,NULL), ('iu.inspect','Inspect unit',false,NULL), ('iu.verify_tree','Verify unit tree',false,NULL), ('iu.health','Health of IU core',false,NULL);
CREATE TABLE dot_iu_command_run (
  run_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), command_name varchar(120) NOT NULL REFERENCES dot_iu_command_catalog(command_name),
  run_mode varchar(10) NOT NULL CHECK (run_mode IN ('plan','verify','apply')),
  run_status varchar(12) NOT NULL CHECK (run_status IN ('started','succeeded','failed','refused')),
  mutating boolean NOT NULL DEFAULT false, actor varchar(80) NOT NULL, args jsonb, result jsonb, refusal_reason text, duration_ms integer,
  started_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz,
  CONSTRAINT dot_iu_command_run_refused_ck CHECK (run_status <> 'refused' OR refusal_reason IS NOT NULL));
CREATE INDEX dot_iu_command_run_cmd_idx ON dot_iu_command_run(command_name, started_at DESC);
COMMENT ON TABLE dot_iu_command_run IS 'Ledger of IU commands (not DOTs); keyed by command_name';
INSERT INTO dot_iu_command_run(command_name, run_mode, run_status, mutating, actor, args, result, refusal_reason, duration_ms, started_at, finished_at)
SELECT CASE WHEN m = 'apply' THEN (ARRAY['iu.create','iu.split','iu.merge','iu.retire'])[1 + n % 4] ELSE (ARRAY['iu.inspect','iu.verify_tree','iu.health','iu.create','iu.split'])[1 + n % 5] END,
       m, s, m = 'apply', (ARRAY['operator','claude-agent','ci'])[1 + n % 3], jsonb_build_object('unit', 'IU-' || lpad((n % 40 + 1)::text, 5, '0')),
       CASE s WHEN 'succeeded' THEN '{"ok": true}'::jsonb END, CASE s WHEN 'refused' THEN 'iu_core.operator_runtime_enabled=false' END, CASE s WHEN 'refused' THEN 3 ELSE 40 + n * 7 END, t, t + interval '1 second'
FROM (SELECT n, m, CASE WHEN m = 'apply' AND n > 31 THEN 'refused' WHEN n % 26 = 0 THEN 'failed' ELSE 'succeeded' END AS s, '2025-09-01 06:00+00'::timestamptz + n * interval '37 hours' AS t
      FROM (SELECT n, CASE WHEN n % 8 IN (2, 5, 7) THEN 'apply' WHEN n % 2 = 0 THEN 'plan' ELSE 'verify' END AS m FROM generate_series(1, 55) n) y) x;
CREATE TRIGGER trg_dot_iu_command_run_append BEFORE DELETE ON dot_iu_command_run FOR EACH ROW EXECUTE FUNCTION fn_ledger_append_only();
CREATE TABLE dot_iu_runtime_lease (
  lease_key text PRIMARY KEY, holder text NOT NULL, lease_token uuid NOT NULL DEFAULT gen_random_uuid(), acquired_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL, released_at timestamptz, CHECK (expires_at > acquired_at));
INSERT INTO dot_iu_runtime_lease(lease_key, holder, acquired_at, expires_at, released_at) VALUES
 ('iu.split','operator:1841','2025-10-20 08:00+00','2025-10-20 08:15+00','2025-10-20 08:01:12+00'), ('iu.merge','claude-agent','2025-11-02 11:30+00','2025-11-02 11:45+00',NULL),
 ('dot_exec:DOT_KG_EXTRACT_ENTITY','wrapper-rehearsal','2025-11-20 10:00+00','2025-11-20 10:10+00','2025-11-20 10:00:04+00');
CREATE TABLE fs_snapshot (snapshot_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, label text NOT NULL, taken_at timestamptz NOT NULL, size_bytes bigint);
INSERT INTO fs_snapshot(label, taken_at, size_bytes) VALUES ('pre-cut-rollout','2025-08-18 22:00+00',48103825408), ('weekly','2025-09-07 22:00+00',48910233600);
CREATE FUNCTION fn_dot_iu_operator_runtime_enabled() RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT public.fn_dot_config_bool('iu_core.operator_runtime_enabled') $$;
CREATE FUNCTION fn_preflight_guard() RETURNS TABLE(check_name text, verdict text, observed text) LANGUAGE sql STABLE AS $$
  SELECT 'fs_snapshot_present', CASE WHEN count(*) = 0 THEN 'BLOCK' ELSE 'OK' END, count(*)::text FROM public.fs_snapshot WHERE taken_at > now() - interval '24 hours'
  UNION ALL SELECT 'stale_leases', CASE WHEN count(*) > 0 THEN 'WARN' ELSE 'OK' END, count(*)::text FROM public.dot_iu_runtime_lease WHERE released_at IS NULL AND expires_at < now()
  UNION ALL SELECT 'queue_worker', 'INFO', public.fn_dot_config_bool('queue.worker.enabled')::text $$;
CREATE FUNCTION fn_assert_safe_for_dot_action() RETURNS void LANGUAGE plpgsql AS $$
DECLARE v text; BEGIN
  SELECT string_agg(check_name || '=' || observed, ', ') INTO v FROM fn_preflight_guard() WHERE verdict = 'BLOCK';
  IF v IS NOT NULL THEN RAISE EXCEPTION 'preflight BLOCK: %', v USING ERRCODE = 'check_violation'; END IF;
END $$;
CREATE FUNCTION fn_dot_iu_runtime_lease_acquire(p_lease_key text, p_holder text, p_ttl_seconds integer DEFAULT 900) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO dot_iu_runtime_lease AS l (lease_key, holder, expires_at) VALUES (p_lease_key, p_holder, now() + make_interval(secs => p_ttl_seconds))
  ON CONFLICT (lease_key) DO UPDATE SET holder = EXCLUDED.holder, lease_token = gen_random_uuid(), acquired_at = now(), expires_at = EXCLUDED.expires_at, released_at = NULL
  WHERE l.released_at IS NOT NULL OR l.expires_at < now() OR l.holder = EXCLUDED.holder RETURNING l.lease_token $$;
CREATE FUNCTION fn_dot_iu_runtime_lease_release(p_lease_key text, p_holder text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH u AS (UPDATE dot_iu_runtime_lease SET released_at = now() WHERE lease_key = p_lease_key AND holder = p_holder AND released_at IS NULL RETURNING 1) SELECT EXISTS (SELECT FROM u) $$;
CREATE FUNCTION fn_dot_iu_command_log(p_command_name text, p_run_mode text, p_run_status text, p_actor text, p_args jsonb DEFAULT NULL, p_result jsonb DEFAULT NULL, p_refusal_reason text DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v_mut boolean; v_id uuid; BEGIN
  SELECT mutating INTO v_mut FROM dot_iu_command_catalog WHERE command_name = p_command_name AND is_active;
  IF NOT FOUND THEN RAISE EXCEPTION 'command % is not catalogued', p_command_name USING ERRCODE = 'foreign_key_violation'; END IF;
  INSERT INTO dot_iu_command_run(command_name, run_mode, run_status, mutating, actor, args, result, refusal_reason, finished_at)
  VALUES (p_command_name, p_run_mode, p_run_status, v_mut AND p_run_mode = 'apply', p_actor, p_args, p_result, p_refusal_reason, now()) RETURNING run_id INTO v_id; RETURN v_id;
END $$;

-- business tables -------------------------------------------------------------------------------------------------------
CREATE TABLE information_unit (id bigserial PRIMARY KEY, code varchar(40) NOT NULL UNIQUE, title text NOT NULL, body text, parent_id bigint REFERENCES information_unit(id), lifecycle varchar(20) NOT NULL DEFAULT 'active', date_created timestamptz NOT NULL DEFAULT now());
INSERT INTO information_unit(code, title, parent_id) SELECT 'IU-' || lpad(n::text, 5, '0'), 'Unit ' || n, CASE WHEN n > 4 THEN 1 + n % 4 END FROM generate_series(1, 40) n;
CREATE TABLE universal_edges (id bigserial PRIMARY KEY, source_code varchar(80) NOT NULL, target_code varchar(80) NOT NULL, edge_type varchar(40) NOT NULL, weight numeric(6,4), meta jsonb, UNIQUE (source_code, target_code, edge_type));
INSERT INTO universal_edges(source_code, target_code, edge_type, weight) SELECT a.code, b.code, 'parent_of', 1 FROM information_unit b JOIN information_unit a ON a.id = b.parent_id;

-- event registry and outbox ---------------------------------------------------------------------------------------------
CREATE TABLE event_type_registry (event_type varchar(80) PRIMARY KEY, active boolean NOT NULL DEFAULT false, payload_schema jsonb, note text);
INSERT INTO event_type_registry(event_type, active) VALUES ('iu.created',true),('iu.split',true),('iu.retired',true),('cut.completed',true),('registry.synced',false),
 ('process.run.started',false),('process.run.completed',false),('process.run.failed',false),('process.step.completed',false);
CREATE TABLE event_outbox (
  event_id uuid NOT NULL DEFAULT gen_random_uuid(), event_type varchar(80) NOT NULL REFERENCES event_type_registry(event_type), aggregate_type varchar(40), aggregate_id text,
  payload jsonb NOT NULL DEFAULT '{}', status varchar(12) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending','published','dead')), attempts smallint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(), published_at timestamptz, PRIMARY KEY (event_id, created_at)) PARTITION BY RANGE (created_at);
CREATE TABLE event_outbox_2025_10 PARTITION OF event_outbox FOR VALUES FROM ('2025-10-01 00:00+00') TO ('2025-11-01 00:00+00');
CREATE TABLE event_outbox_2025_11 PARTITION OF event_outbox FOR VALUES FROM ('2025-11-01 00:00+00') TO ('2025-12-01 00:00+00');
CREATE TABLE event_outbox_default PARTITION OF event_outbox DEFAULT;
CREATE INDEX event_outbox_pending_idx ON event_outbox(created_at) WHERE status = 'pending';
INSERT INTO event_outbox(event_type, aggregate_type, aggregate_id, status, attempts, created_at, published_at)
SELECT (ARRAY['iu.created','iu.split','iu.retired','cut.completed'])[1 + n % 4], 'information_unit', 'IU-' || lpad((1 + n % 40)::text, 5, '0'), CASE WHEN n > 76 THEN 'pending' ELSE 'published' END, 1, t, CASE WHEN n <= 76 THEN t + interval '2 s' END
FROM (SELECT n, '2025-10-03 00:00+00'::timestamptz + n * interval '14 hours' AS t FROM generate_series(1, 80) n) x;
CREATE FUNCTION fn_event_outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('event_outbox', NEW.event_id::text); RETURN NULL; END $$;
CREATE TRIGGER trg_event_outbox_notify AFTER INSERT ON event_outbox FOR EACH ROW EXECUTE FUNCTION fn_event_outbox_notify();

-- job queue (other team, own role; worker is off) -------------------------------------------------------------------------
RESET ROLE; SET ROLE stranger_queue;
CREATE TYPE job_status AS ENUM ('queued','running','done','failed','dead');
CREATE TABLE job_queue (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, queue varchar(40) NOT NULL DEFAULT 'default', job_type varchar(80) NOT NULL, payload jsonb NOT NULL DEFAULT '{}', status job_status NOT NULL DEFAULT 'queued',
  priority smallint NOT NULL DEFAULT 100, run_id uuid, idempotency_key varchar(200), actor varchar(80), attempts integer NOT NULL DEFAULT 0, max_attempts integer NOT NULL DEFAULT 5,
  run_after timestamptz NOT NULL DEFAULT now(), locked_by text, locked_until timestamptz, last_error text, created_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz);
CREATE UNIQUE INDEX job_queue_idem_uq ON job_queue(job_type, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX job_queue_ready_idx ON job_queue(queue, priority, run_after) WHERE status = 'queued';
INSERT INTO job_queue(job_type, payload, status, run_id, idempotency_key, actor, attempts, run_after, created_at, finished_at)
SELECT 'job:cut.' || k, jsonb_build_object('unit', 'IU-' || lpad(n::text, 5, '0')), (CASE WHEN n > 10 THEN 'queued' WHEN n = 7 AND k = 'verify' THEN 'dead' ELSE 'done' END)::job_status,
       md5('cut-run-' || n)::uuid, 'cut-' || n || '-' || k, 'cut-service', CASE WHEN n > 10 THEN 0 WHEN n = 7 AND k = 'verify' THEN 5 ELSE 1 END, t, t, CASE WHEN n <= 10 THEN t + interval '9 s' END
FROM (SELECT n, k, '2025-08-20 12:00+00'::timestamptz + n * interval '1 day' AS t FROM generate_series(1, 12) n, unnest(ARRAY['plan','apply','verify']) k) x;
GRANT SELECT ON job_queue TO stranger_owner;
RESET ROLE; SET ROLE stranger_owner;

-- process observation (wrapper, record only) --------------------------------------------------------------------------------
CREATE TABLE process_candidate (process_candidate_code varchar(80) PRIMARY KEY, family varchar(40) NOT NULL, producer_dot varchar(100) REFERENCES dot_tools(code), verifier_dot varchar(100) REFERENCES dot_tools(code), job_family varchar(40));
INSERT INTO process_candidate VALUES ('PC-CUT-001','cut',NULL,NULL,'job:cut');
INSERT INTO process_candidate SELECT 'PC-KG-' || lpad((row_number() OVER (ORDER BY id))::text, 3, '0'), 'kg', code, paired_dot FROM dot_tools WHERE dot_role = 'producer' AND paired_dot IS NOT NULL;
CREATE TABLE process_run_observation (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), process_run_id uuid NOT NULL UNIQUE, correlation_id uuid NOT NULL, parent_run_id uuid, process_candidate_code varchar(80) REFERENCES process_candidate,
  status text NOT NULL CHECK (status IN ('observed','started','completed','failed','cancelled')), evidence_type text NOT NULL CHECK (evidence_type IN ('SIMULATED_DRY_RUN','DRY_RUN','REAL_RUN')),
  evidence_ref jsonb NOT NULL DEFAULT '{}', input_ref text, output_ref text, error_ref text, idempotency_key text, actor text NOT NULL, observed_at timestamptz NOT NULL DEFAULT now());
CREATE UNIQUE INDEX process_run_observation_idem ON process_run_observation(idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE TABLE process_component_observation (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), process_run_id uuid NOT NULL REFERENCES process_run_observation(process_run_id), correlation_id uuid NOT NULL, dot_code varchar(100) NOT NULL, component_role text,
  status text NOT NULL CHECK (status IN ('observed','step_started','step_completed','failed','cancelled')), evidence_type text NOT NULL CHECK (evidence_type IN ('SIMULATED_DRY_RUN','DRY_RUN','REAL_RUN')),
  evidence_ref jsonb NOT NULL DEFAULT '{}', output_ref text, error_ref text, idempotency_key text, actor text NOT NULL, observed_at timestamptz NOT NULL DEFAULT now());
CREATE UNIQUE INDEX process_component_observation_idem ON process_component_observation(idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE FUNCTION fn_process_run_observe(p_candidate text, p_run_id uuid, p_correlation_id uuid, p_status text, p_evidence_type text, p_actor text, p_idempotency_key text DEFAULT NULL, p_evidence_ref jsonb DEFAULT '{}')
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v uuid; BEGIN
  IF p_actor IS NULL OR p_correlation_id IS NULL THEN RAISE EXCEPTION 'actor and correlation_id are required' USING ERRCODE = 'check_violation'; END IF;
  IF p_evidence_type = 'REAL_RUN' AND NOT fn_dot_config_bool('process_dot_runtime.real_run_enabled') THEN RAISE EXCEPTION 'REAL_RUN is not enabled' USING ERRCODE = 'check_violation'; END IF;
  INSERT INTO process_run_observation(process_run_id, correlation_id, process_candidate_code, status, evidence_type, actor, idempotency_key, evidence_ref)
  VALUES (p_run_id, p_correlation_id, p_candidate, p_status, p_evidence_type, p_actor, p_idempotency_key, p_evidence_ref) ON CONFLICT DO NOTHING RETURNING id INTO v;
  RETURN coalesce(v, (SELECT id FROM process_run_observation WHERE idempotency_key = p_idempotency_key));
END $$;
CREATE FUNCTION fn_process_component_observe(p_run_id uuid, p_correlation_id uuid, p_dot_code text, p_role text, p_status text, p_evidence_type text, p_actor text, p_idempotency_key text DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE v uuid; BEGIN
  IF p_actor IS NULL OR p_correlation_id IS NULL OR NOT EXISTS (SELECT FROM dot_tools WHERE code = p_dot_code) THEN RAISE EXCEPTION 'actor, correlation_id and a known dot_code are required' USING ERRCODE = 'check_violation'; END IF;
  IF p_evidence_type = 'REAL_RUN' AND NOT fn_dot_config_bool('process_dot_runtime.real_run_enabled') THEN RAISE EXCEPTION 'REAL_RUN is not enabled' USING ERRCODE = 'check_violation'; END IF;
  INSERT INTO process_component_observation(process_run_id, correlation_id, dot_code, component_role, status, evidence_type, actor, idempotency_key)
  VALUES (p_run_id, p_correlation_id, p_dot_code, p_role, p_status, p_evidence_type, p_actor, p_idempotency_key) ON CONFLICT DO NOTHING RETURNING id INTO v;
  RETURN coalesce(v, (SELECT id FROM process_component_observation WHERE idempotency_key = p_idempotency_key));
END $$;
SELECT fn_process_run_observe('PC-KG-001', md5('r1')::uuid, md5('c1')::uuid, 'observed', 'SIMULATED_DRY_RUN', 'wrapper-rehearsal', 'rehearsal-1', '{"wrapper_phase": "prepared"}') \g /dev/null
SELECT fn_process_component_observe(md5('r1')::uuid, md5('c1')::uuid, d.code, d.dot_role, 'observed', 'SIMULATED_DRY_RUN', 'wrapper-rehearsal', 'rehearsal-1:' || d.dot_role)
  FROM dot_tools d JOIN process_candidate p ON d.code IN (p.producer_dot, p.verifier_dot) WHERE p.process_candidate_code = 'PC-KG-001' \g /dev/null

-- views -----------------------------------------------------------------------------------------------------------------
CREATE VIEW "DOT coverage" AS
  SELECT domain AS "Domain", count(*) AS "DOTs", count(*) FILTER (WHERE script_path IS NOT NULL OR file_path IS NOT NULL) AS "with path", count(*) FILTER (WHERE usage_count > 0) AS executed_dots FROM dot_tools GROUP BY domain;
CREATE VIEW v_dot_iu_command_run_summary AS SELECT command_name, run_mode, run_status, count(*) AS runs, max(started_at) AS last_started FROM dot_iu_command_run GROUP BY 1, 2, 3;
CREATE VIEW v_process_runtime_v2 AS
  SELECT p.process_candidate_code, p.family,
    EXISTS (SELECT FROM job_queue j WHERE j.job_type LIKE p.job_family || '.%' AND j.status = 'done') OR EXISTS (SELECT FROM process_run_observation o WHERE o.process_candidate_code = p.process_candidate_code AND o.evidence_type = 'REAL_RUN') AS has_real_runtime,
    EXISTS (SELECT FROM job_queue j WHERE j.job_type LIKE p.job_family || '.%' AND j.status = 'done' GROUP BY j.run_id HAVING count(DISTINCT j.job_type) > 1) AS cross_component_correlation
  FROM process_candidate p;
CREATE VIEW v_process_runtime_v3 AS SELECT *, has_real_runtime AND cross_component_correlation AS verified FROM v_process_runtime_v2;

-- grants ------------------------------------------------------------------------------------------------------------------
RESET ROLE;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO stranger_app;
GRANT SELECT, INSERT, UPDATE ON job_queue TO stranger_app;
GRANT INSERT, UPDATE ON event_outbox, information_unit, universal_edges TO stranger_app;
GRANT USAGE ON SEQUENCE information_unit_id_seq, universal_edges_id_seq TO stranger_app;
GRANT UPDATE (name, description, status, tags, sort) ON dot_tools TO stranger_app;
REVOKE EXECUTE ON FUNCTION fn_dot_iu_runtime_lease_acquire(text,text,integer), fn_dot_iu_runtime_lease_release(text,text), fn_dot_iu_command_log(text,text,text,text,jsonb,jsonb,text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION fn_dot_iu_runtime_lease_acquire(text,text,integer), fn_dot_iu_runtime_lease_release(text,text), fn_dot_iu_command_log(text,text,text,text,jsonb,jsonb,text) TO stranger_app;
ANALYZE;
