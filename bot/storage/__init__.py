"""The only SQL of the product: tables, migrations, and plain functions over a connection that `Database` runs."""
