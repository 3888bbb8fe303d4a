"""Alembic's entry: runs revisions on the connection `approvals.record.migrate` hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
