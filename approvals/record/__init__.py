"""The record: the database, its chained history, and rows that count only under a MAC."""
