"""${message}"""

from dot_wrapper.deploy.frozen_sql import AMENDMENT, apply

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

# The files of amendment/sql/ that this revision adds or changes, in the order in which they are applied.
# `make freeze REV=${up_revision}` keeps a copy of each; the revision applies the copy.
APPLIES: tuple[str, ...] = ()


def upgrade() -> None:
    apply(revision, APPLIES, AMENDMENT)


def downgrade() -> None:
    ...
