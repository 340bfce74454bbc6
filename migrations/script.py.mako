"""${message}"""

from dot_wrapper.deploy.frozen_sql import apply, revert

revision = "${up_revision}"
down_revision = ${f'"{down_revision}"' if down_revision else None}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

# The files of sql/ that this revision adds or changes, in the order in which they are applied.
# `make freeze REV=${up_revision}` keeps a copy of each; the revision applies the copy.
APPLIES: tuple[str, ...] = ()


def upgrade() -> None:
    apply(revision, APPLIES)


def downgrade() -> None:
    revert(revision, APPLIES)
