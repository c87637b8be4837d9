"""How the schema came to be: Alembic migrations, run when a database is opened that needs them."""
