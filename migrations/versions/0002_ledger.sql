-- A named pair of producer and verifier, and what its definition asks for beside it. Insert-only: who can
-- edit a pair rewrites past verdicts. A chain is named after its first candidate; each other one says which
-- it supersedes.
create table dot.process_candidate (
    defined_at timestamptz not null,
    source_time timestamptz,
    max_age interval,
    producer_role regrole,
    verifier_role regrole,
    chain_position bigint not null,
    pins_output boolean not null,
    code text collate "C" not null,
    producer_dot_code text collate "C" not null,
    verifier_dot_code text collate "C" not null,
    supersedes text collate "C",
    chain text collate "C" not null,
    description text collate "C",
    actor text collate "C" not null,
    session_actor text collate "C" not null,
    constraint process_candidate_pkey primary key (code),
    constraint process_candidate_chain_key unique (chain, chain_position),
    constraint process_candidate_code_check check (dot.fn_is_code(code, 200)),
    constraint process_candidate_pair_check check (producer_dot_code <> verifier_dot_code),
    constraint process_candidate_max_age_check check (
        max_age > interval '0' and max_age <= interval '100 years'
    ),
    constraint process_candidate_chain_check check (
        (supersedes is null) = (chain = code and chain_position = 1)
    )
);
comment on table dot.process_candidate is 'Named pairs of a producer DOT and a verifier DOT, insert-only.';
comment on column dot.process_candidate.defined_at is 'When it was defined.';
comment on column dot.process_candidate.source_time is
    'The time of what it was made from; it orders the chain.';
comment on column dot.process_candidate.max_age is
    'How old a verification may be before it has a caveat; NULL for any age.';
comment on column dot.process_candidate.producer_role is
    'The role whose members alone record the producer; NULL for any login.';
comment on column dot.process_candidate.verifier_role is
    'The role whose members alone record the verifier; NULL for any login.';
comment on column dot.process_candidate.chain_position is
    'In which order it was defined in its chain, from 1.';
comment on column dot.process_candidate.pins_output is
    'Whether the verifier has to look at what the producer wrote.';
comment on column dot.process_candidate.code is 'The code of the candidate.';
comment on column dot.process_candidate.producer_dot_code is 'The DOT that produces.';
comment on column dot.process_candidate.verifier_dot_code is 'The DOT that verifies; never the producer.';
comment on column dot.process_candidate.supersedes is
    'The candidate that it follows; NULL for the first of its chain.';
comment on column dot.process_candidate.chain is 'The first candidate of its chain.';
comment on column dot.process_candidate.description is 'What the candidate is, in words.';
comment on column dot.process_candidate.actor is 'Who did it, as the call claims.';
comment on column dot.process_candidate.session_actor is 'The database login that really called.';

-- The header: one row per run, and a run is (candidate, process_run_id). The candidate leads every key, so
-- the ledger can be distributed by it. No foreign key points at a shared row: a hot one would cost a
-- multixact per insert. Domains and CHECKs hold for each role that writes, the owner included. What looks at
-- several columns is a PL/pgSQL function, whose expressions a session keeps: the constants of a CHECK are
-- parsed anew for every statement. Triggers and row security of all tables of this file: 0002_ledger.py.
create table dot.process_run_observation (
    process_run_id dot.run_id not null,
    parent_run_id dot.run_id,
    observed_at timestamptz not null,
    occurred_at timestamptz,
    xact_id xid8 not null default pg_current_xact_id(),
    lease_token bigint,
    dry_run boolean not null,
    process_candidate_code dot.code not null,
    dot_code dot.code not null,
    correlation_id dot.code not null,
    evidence_type text collate "C" not null,
    status text collate "C" not null,
    actor dot.code not null,
    session_actor text collate "C" not null,
    idempotency_key dot.code,
    input_ref dot.ref,
    output_ref dot.ref,
    error_ref dot.ref,
    evidence_ref dot.evidence not null,
    admission jsonb,
    constraint process_run_observation_pkey primary key (process_candidate_code, process_run_id),
    -- The evidence ladder.
    constraint process_run_observation_evidence_type_check check (
        dot.fn_is_admitted(evidence_type, dry_run, status, lease_token, admission)
    ),
    -- The stored words.
    constraint process_run_observation_status_check check (dot.fn_is_run_status(status, evidence_ref))
);
comment on table dot.process_run_observation is
    'The header of a run: one row per run, append-only, written by the observe functions, the pair and the '
    'batch.';
comment on column dot.process_run_observation.process_run_id is 'The run: with the candidate it is the key.';
comment on column dot.process_run_observation.parent_run_id is
    'The run that this one follows, as claimed; it is not looked up.';
comment on column dot.process_run_observation.observed_at is
    'When it was recorded, by the clock of the server.';
comment on column dot.process_run_observation.occurred_at is
    'When it happened, as the source says. It proves nothing.';
comment on column dot.process_run_observation.xact_id is 'The transaction that stored the row.';
comment on column dot.process_run_observation.lease_token is
    'The lease token it was recorded under; NULL for a simulation without one.';
comment on column dot.process_run_observation.dry_run is
    'Whether nothing was executed for real: false for a REAL_RUN alone.';
comment on column dot.process_run_observation.process_candidate_code is 'The process candidate.';
comment on column dot.process_run_observation.dot_code is 'The DOT of the producer.';
comment on column dot.process_run_observation.correlation_id is 'What ties the parts of the run together.';
comment on column dot.process_run_observation.evidence_type is 'SIMULATED_DRY_RUN, DRY_RUN or REAL_RUN.';
comment on column dot.process_run_observation.status is
    'Where the run stood when this was written: observed, started, completed, failed or cancelled.';
comment on column dot.process_run_observation.actor is 'Who did it, as the call claims.';
comment on column dot.process_run_observation.session_actor is 'The database login that really called.';
comment on column dot.process_run_observation.idempotency_key is
    'The key under which a repeated call is the same call; NULL where there is none.';
comment on column dot.process_run_observation.input_ref is 'What was looked at.';
comment on column dot.process_run_observation.output_ref is 'What was written.';
comment on column dot.process_run_observation.error_ref is 'Where the error is described.';
comment on column dot.process_run_observation.evidence_ref is 'Further evidence, a JSON object.';
comment on column dot.process_run_observation.admission is
    'The gates and preflight checks that let it in; NULL for a simulation, which is asked for nothing.';
create unique index process_run_observation_idempotency_key_key
    on dot.process_run_observation (process_candidate_code, idempotency_key)
    where idempotency_key is not null;
-- The latest real run of a candidate, which is what a verdict asks for; and what is counted of its dry and
-- real runs. Tokens only grow, so they order the runs whatever the clock does.
create index process_run_observation_above_simulation_idx
    on dot.process_run_observation (
        process_candidate_code, evidence_type, lease_token desc, observed_at desc, process_run_id desc
    )
    where evidence_type <> 'SIMULATED_DRY_RUN';
-- The newest runs of all candidates, the runs of one correlation, and the children of a run.
create index process_run_observation_observed_at_idx
    on dot.process_run_observation (observed_at desc, process_run_id desc);
create index process_run_observation_correlation_id_idx on dot.process_run_observation (correlation_id);
create index process_run_observation_parent_run_id_idx on dot.process_run_observation (parent_run_id)
    where parent_run_id is not null;

-- The producer's and the verifier's part. The key is natural: of each role a run has at most one prepared
-- row, one that it started, and one end, with success or without. component_id is what callers and events
-- call the row by; nothing looks a row up by it, so it has no index to pay for.
create table dot.process_component_observation (
    component_id uuid not null default gen_random_uuid(),
    process_run_id dot.run_id not null,
    observed_at timestamptz not null,
    occurred_at timestamptz,
    xact_id xid8 not null default pg_current_xact_id(),
    lease_token bigint,
    process_candidate_code dot.code not null,
    component_role dot.component_role not null,
    stage text collate "C" not null,
    dot_code dot.code not null,
    correlation_id dot.code not null,
    evidence_type text collate "C" not null,
    status text collate "C" not null,
    actor dot.code not null,
    session_actor text collate "C" not null,
    idempotency_key dot.component_key,
    input_ref dot.ref,
    output_ref dot.ref,
    error_ref dot.ref,
    evidence_ref dot.evidence not null,
    admission jsonb,
    constraint process_component_observation_pkey
        primary key (process_candidate_code, process_run_id, component_role, stage),
    constraint process_component_observation_process_run_id_fkey
        foreign key (process_candidate_code, process_run_id)
        references dot.process_run_observation (process_candidate_code, process_run_id),
    -- The evidence ladder.
    constraint process_component_observation_evidence_type_check check (
        dot.fn_is_admitted(evidence_type, null::boolean, status, lease_token, admission)
    ),
    -- The stored words, and the stage that each is.
    constraint process_component_observation_status_check check (
        dot.fn_is_component_status(status, stage, evidence_ref)
    )
);
comment on table dot.process_component_observation is
    'The producer''s and the verifier''s part of a run, append-only, written by the observe functions, the '
    'pair and the batch.';
comment on column dot.process_component_observation.component_id is
    'What callers and events call the row by.';
comment on column dot.process_component_observation.process_run_id is
    'The run: with the candidate it is the key.';
comment on column dot.process_component_observation.observed_at is
    'When it was recorded, by the clock of the server.';
comment on column dot.process_component_observation.occurred_at is
    'When it happened, as the source says. It proves nothing.';
comment on column dot.process_component_observation.xact_id is 'The transaction that stored the row.';
comment on column dot.process_component_observation.lease_token is
    'The lease token it was recorded under; NULL for a simulation without one.';
comment on column dot.process_component_observation.process_candidate_code is 'The process candidate.';
comment on column dot.process_component_observation.component_role is 'producer or verifier.';
comment on column dot.process_component_observation.stage is
    'prepared, started or ended: of each a part has one row.';
comment on column dot.process_component_observation.dot_code is 'The DOT.';
comment on column dot.process_component_observation.correlation_id is
    'What ties the parts of the run together; that of the header.';
comment on column dot.process_component_observation.evidence_type is 'That of the header.';
comment on column dot.process_component_observation.status is
    'observed, step_started, step_completed, failed or cancelled.';
comment on column dot.process_component_observation.actor is 'Who did it, as the call claims.';
comment on column dot.process_component_observation.session_actor is
    'The database login that really called.';
comment on column dot.process_component_observation.idempotency_key is
    'The key under which a repeated call is the same call; NULL where there is none.';
comment on column dot.process_component_observation.input_ref is 'What was looked at.';
comment on column dot.process_component_observation.output_ref is 'What was written.';
comment on column dot.process_component_observation.error_ref is 'Where the error is described.';
comment on column dot.process_component_observation.evidence_ref is 'Further evidence, a JSON object.';
comment on column dot.process_component_observation.admission is
    'The gates and preflight checks that let it in; NULL for a simulation, which is asked for nothing.';
create unique index process_component_observation_idempotency_key_key
    on dot.process_component_observation (process_candidate_code, idempotency_key)
    where idempotency_key is not null;
-- Runs that may be verified, the last one first: a verdict asks for the last that was.
create index process_component_observation_real_verifier_idx
    on dot.process_component_observation (
        process_candidate_code, lease_token desc, observed_at desc, process_run_id desc
    )
    where evidence_type = 'REAL_RUN' and component_role = 'verifier' and status = 'step_completed';

-- What a person vouches for before anything may be executed. The newest row of a check decides, and counts
-- in the database and cluster that it names. Its number is given under the gate latch and by no sequence,
-- which a replica that takes over would not have.
create table dot.preflight_attestation (
    attestation_id bigint not null,
    attested_at timestamptz not null,
    expires_at timestamptz not null,
    system_identifier bigint,
    database_oid oid not null,
    check_name text collate "C" not null,
    verdict text collate "C" not null,
    finding text collate "C" not null,
    actor text collate "C" not null,
    session_actor text collate "C" not null,
    constraint preflight_attestation_pkey primary key (attestation_id),
    constraint preflight_attestation_check_name_check check (check_name = 'fs_snapshot_present'),
    constraint preflight_attestation_verdict_check check (verdict in ('PASS', 'WARN', 'BLOCK')),
    constraint preflight_attestation_expires_at_check check (expires_at > attested_at)
);
comment on table dot.preflight_attestation is
    'Attested preflight checks with an expiry, append-only; the newest decides.';
comment on column dot.preflight_attestation.attestation_id is 'Its number: the newest is the highest.';
comment on column dot.preflight_attestation.attested_at is 'When it was attested.';
comment on column dot.preflight_attestation.expires_at is 'When it ends.';
comment on column dot.preflight_attestation.system_identifier is
    'The cluster it was decided in; NULL where that could not be read.';
comment on column dot.preflight_attestation.database_oid is 'The database it was decided in.';
comment on column dot.preflight_attestation.check_name is 'The preflight check.';
comment on column dot.preflight_attestation.verdict is 'PASS, WARN or BLOCK.';
comment on column dot.preflight_attestation.finding is 'What was found.';
comment on column dot.preflight_attestation.actor is 'Who did it, as the call claims.';
comment on column dot.preflight_attestation.session_actor is 'The database login that really called.';
create index preflight_attestation_check_name_idx
    on dot.preflight_attestation (check_name, attestation_id desc);

-- Who moved a gate or an event type, when, why, and in which database of which cluster (NULL where that
-- could not be read: then it opens nothing). A gate is open only where its newest row here says so.
create table dot.dot_config_audit (
    audit_id bigint not null,
    changed_at timestamptz not null,
    system_identifier bigint,
    database_oid oid not null,
    key text collate "C" not null,
    old_value text collate "C",
    new_value text collate "C" not null,
    actor text collate "C" not null,
    session_actor text collate "C" not null,
    reason text collate "C" not null,
    constraint dot_config_audit_pkey primary key (audit_id)
);
comment on table dot.dot_config_audit is
    'Every move of a gate or event type: who, when, why, old, new. Append-only.';
comment on column dot.dot_config_audit.audit_id is 'Its number: the newest is the highest.';
comment on column dot.dot_config_audit.changed_at is 'When it was moved.';
comment on column dot.dot_config_audit.system_identifier is
    'The cluster it was decided in; NULL where that could not be read.';
comment on column dot.dot_config_audit.database_oid is 'The database it was decided in.';
comment on column dot.dot_config_audit.key is
    'What was moved: the key of a gate, event_type:<type> or lease:<lease key>.';
comment on column dot.dot_config_audit.old_value is
    'What it was before; of a lease, the login and holder that had it.';
comment on column dot.dot_config_audit.new_value is 'What it was moved to; ended, of a lease.';
comment on column dot.dot_config_audit.actor is 'Who did it, as the call claims.';
comment on column dot.dot_config_audit.session_actor is 'The database login that really called.';
comment on column dot.dot_config_audit.reason is 'Why it was done.';
create index dot_config_audit_key_idx on dot.dot_config_audit (key, audit_id desc);

-- What SQL cannot see of the mechanisms that could execute a DOT, as a person who looked attests it.
create table dot.dot_mechanism_attestation (
    attestation_id bigint not null,
    attested_at timestamptz not null,
    present boolean not null,
    mechanism text collate "C" not null,
    finding text collate "C" not null,
    actor text collate "C" not null,
    session_actor text collate "C" not null,
    constraint dot_mechanism_attestation_pkey primary key (attestation_id),
    constraint dot_mechanism_attestation_mechanism_check check (mechanism in ('scheduler', 'api_endpoint'))
);
comment on table dot.dot_mechanism_attestation is
    'What was found of mechanisms that SQL cannot see. Append-only; the newest stands.';
comment on column dot.dot_mechanism_attestation.attestation_id is 'Its number: the newest is the highest.';
comment on column dot.dot_mechanism_attestation.attested_at is 'When it was attested.';
comment on column dot.dot_mechanism_attestation.present is 'Whether it executes DOTs here.';
comment on column dot.dot_mechanism_attestation.mechanism is 'scheduler or api_endpoint.';
comment on column dot.dot_mechanism_attestation.finding is 'What was found.';
comment on column dot.dot_mechanism_attestation.actor is 'Who did it, as the call claims.';
comment on column dot.dot_mechanism_attestation.session_actor is 'The database login that really called.';

-- Where the events of the outbox were written. Transactions are numbered by the cluster, so those of two
-- clusters do not compare: the first event on another one begins the next epoch, see fn_outbox_epoch.
create table dot.outbox_epoch (
    system_identifier bigint not null,
    began_at timestamptz not null,
    -- squawk-ignore prefer-bigint-over-int
    epoch integer not null, -- one more with each move
    database_oid oid not null,
    constraint outbox_epoch_pkey primary key (epoch)
);
comment on table dot.outbox_epoch is
    'On which cluster and in which database events were written, in this order. Append-only.';
comment on column dot.outbox_epoch.epoch is 'The number of the epoch, from 1.';
comment on column dot.outbox_epoch.system_identifier is 'The cluster whose transactions it counts by.';
comment on column dot.outbox_epoch.database_oid is 'The database that the events were written in.';
comment on column dot.outbox_epoch.began_at is 'When its first event was written.';

-- How far the outbox is delivered: one row, moved by fn_dot_outbox_ack alone.
create table dot.outbox_cursor (
    xact_id xid8 not null,
    outbox_id bigint not null,
    moved_at timestamptz,
    -- squawk-ignore prefer-bigint-over-int
    epoch integer not null,
    session_actor text collate "C",
    singleton boolean not null default true,
    constraint outbox_cursor_pkey primary key (singleton),
    constraint outbox_cursor_singleton_check check (singleton)
);
comment on table dot.outbox_cursor is 'How far the outbox is delivered: one row.';
comment on column dot.outbox_cursor.xact_id is 'The transaction of the last event that was delivered.';
comment on column dot.outbox_cursor.outbox_id is 'The number of the last event that was delivered.';
comment on column dot.outbox_cursor.moved_at is 'When it was last moved; NULL before the first time.';
comment on column dot.outbox_cursor.session_actor is 'The database login that moved it.';
comment on column dot.outbox_cursor.singleton is 'Always true: it keeps the table at one row.';
comment on column dot.outbox_cursor.epoch is
    'The epoch of the last event that was delivered; 0 before the first.';
insert into dot.outbox_cursor (epoch, xact_id, outbox_id) values (0, '0', 0);
