"""What plpgsql_check sees: no warning in any function, and no statement or branch that the tests leave out.

Both need Debian's PostgreSQL 15 with its postgresql-15-plpgsql-check; elsewhere they are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from dot_wrapper.files import ROOT
from dot_wrapper.proving.databases import fresh_database, upgrade
from support.servers import server
from support.sizes import LARGE
from tools.missing import missing

pytestmark = pytest.mark.skipif(
    not {"postgresql-15", "postgresql-15-plpgsql-check"}.isdisjoint(missing()),
    reason="needs Debian's postgresql-15 with postgresql-15-plpgsql-check",
)

FOLDED = "The refusal is IMMUTABLE and its arguments are constants, so the checker, which plans every statement, already meets it."
VOLATILE = "Whatever reads a table is VOLATILE, so that it sees what the statement sees; the catalog lint demands it."
DOMAINS = "A value is cast to a domain, or from one, which is what checks it."
ONCE = "Cast once per definition."
RAISES = "What it calls last, fn_host_unreadable, raises."

# By function the one thing that is said of it, and why that is no fault.
FALSE_ALARMS = {
    "fn_candidate_newest": ("routine is marked as VOLATILE, should be STABLE", VOLATILE),
    "fn_dot_outbox_ack": ("epoch is required", FOLDED),
    "fn_dot_outbox_poll": ("limit is required", FOLDED),
    "fn_dot_outbox_prune": ("limit is required", FOLDED),
    "fn_gates_assert": ("target type is different type than source type", "An array literal, cast once per call."),
    "fn_host_dot_described": ("control reached end of function without RETURN", RAISES),
    "fn_host_events_wanted": ("control reached end of function without RETURN", RAISES),
    "fn_host_gate_words": ("routine is marked as VOLATILE, should be STABLE", VOLATILE),
    "fn_host_outbox_after": ("routine is marked as VOLATILE, should be STABLE", VOLATILE),
    "fn_host_outbox_position_settled": ("routine is marked as VOLATILE, should be STABLE", VOLATILE),
    "fn_host_preflight": ("routine is marked as VOLATILE, should be STABLE", VOLATILE),
    "fn_login_may_act": ("routine is marked as VOLATILE, should be STABLE", "It asks for rights, and is internal."),
    "fn_process_candidate_define": ("target type is different type than source type", ONCE),
    "fn_process_component_observe": ("target type is different type than source type", DOMAINS),
    "fn_seam_tables": ("routine is marked as VOLATILE, should be STABLE", VOLATILE),
}

# What no test can run, as the profile names it, and why.
INVISIBLE = (
    "Where ON CONFLICT DO NOTHING meets a row that the transaction cannot see, PostgreSQL itself raises 40001 outside READ"
    " COMMITTED, and inside it the next statement sees the row. The branch stands for the day when that changes, and the last"
    " question before it has always been answered with yes."
)
FROM_16 = "The profile is of 15; from 16 on the function goes the other way."
PREPARED = "The servers of the tests allow prepared transactions, so that PREPARE is seen to be refused."
STANDBY = "On a standby, whose profile is not read: tests/security/test_decided_here.py."
UNREACHABLE = {
    "fn_config_audit: raise serialization_failure using": INVISIBLE,
    "fn_dot_mechanism_attest: raise serialization_failure using": INVISIBLE,
    "fn_gates_assert: raise read_only_sql_transaction using": STANDBY,
    "fn_login_may_act: if current_setting('server_version_num')::integer < 160000 then (always true)": FROM_16,
    "fn_login_may_act: return pg_has_role(session_user, p_role, 'usage') or pg_has_role(session_user, p_role, 'set');": FROM_16,
    "fn_preflight_attest: raise serialization_failure using": INVISIBLE,
    "fn_prepare_forbid: if current_setting('max_prepared_transactions') <> '0' then (always true)": PREPARED,
    "fn_process_candidate_define: raise serialization_failure using": INVISIBLE,
    "fn_process_component_observe: if v_stored_status is not null then (always true)": INVISIBLE,
    "fn_process_component_observe: raise serialization_failure using": INVISIBLE,
    "fn_process_run_observe: if exists ( (always true)": INVISIBLE,
    "fn_process_run_observe: raise serialization_failure using": INVISIBLE,
}

CHECK = """
select p.proname, c.message
from pg_proc p
cross join lateral plpgsql_check_function_tb(
    p.oid, coalesce((select t.tgrelid from pg_trigger t where t.tgfoid = p.oid limit 1), 0),
    all_warnings => true
) as c
where p.pronamespace = 'dot'::regnamespace and p.prolang = (select l.oid from pg_language l where l.lanname = 'plpgsql')
order by 1, 2
"""


def test_plpgsql_check_has_no_warning_but_those_that_are_argued() -> None:
    with server(15) as url:
        upgraded = fresh_database(url, "checked")
        upgrade(upgraded)
        with psycopg.connect(upgraded) as connection:
            connection.execute("create extension plpgsql_check")
            found = connection.execute(CHECK).fetchall()
    assert sorted(set(found)) == [(function, said) for function, (said, _) in sorted(FALSE_ALARMS.items())]


@pytest.mark.skipif(not LARGE, reason="two minutes more than a push can afford: `make proof` runs it")
def test_every_statement_and_branch_of_every_function_is_run_by_the_rules_and_attacks(tmp_path: Path) -> None:
    result = tmp_path / "profile.json"
    done = subprocess.run(
        [sys.executable, "-m", "support.plpgsql_profile", str(result)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    profile = json.loads(result.read_text(encoding="utf-8"))
    assert profile["statements"] > 300
    assert set(profile["never"]) == set(UNREACHABLE)
