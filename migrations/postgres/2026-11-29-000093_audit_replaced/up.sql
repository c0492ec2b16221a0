-- PostgreSQL has no INSERT OR REPLACE, and ON CONFLICT DO UPDATE is an UPDATE to its triggers: nothing to do but to have the same names.
SELECT 1;
