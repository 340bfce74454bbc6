-- The funnel in one row. executed_dots is document 02's figure: how many DOTs anything shows to have been
-- invoked.
create or replace view dot.v_dot_funnel_total with (security_barrier = true) as
select
    count(*) as declared_dots,
    count(*) filter (where f.invoked) as executed_dots,
    count(*) filter (where f.observed) as observed_dots,
    count(*) filter (where f.simulated) as simulated_dots,
    count(*) filter (where f.verified) as verified_dots,
    count(*) filter (where f.last_executed_is_backfill) as backfilled_dots
from dot.v_dot_funnel as f;

revoke all on dot.v_dot_funnel_total
    from public, dot_bridge, dot_writer, dot_cataloguer, dot_gatekeeper, dot_relay, dot_reader;
grant select on dot.v_dot_funnel_total to dot_reader;

comment on view dot.v_dot_funnel_total is
    'The funnel in one row: declared, executed, observed, simulated and verified DOTs.';
comment on column dot.v_dot_funnel_total.declared_dots is 'DOTs in the catalogue.';
comment on column dot.v_dot_funnel_total.executed_dots is
    'DOTs that were used, or produced in a dry or real run.';
comment on column dot.v_dot_funnel_total.observed_dots is 'DOTs with a row in a dry or real run.';
comment on column dot.v_dot_funnel_total.simulated_dots is 'DOTs with a row in a simulated run.';
comment on column dot.v_dot_funnel_total.verified_dots is 'DOTs in a verified pair.';
comment on column dot.v_dot_funnel_total.backfilled_dots is 'DOTs whose last_executed is a backfill.';
