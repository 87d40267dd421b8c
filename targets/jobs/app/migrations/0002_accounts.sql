-- Accounts that are deleted softly, and the audit log.

CREATE TABLE accounts (
    id text PRIMARY KEY,
    name text NOT NULL,
    version integer NOT NULL DEFAULT 1,
    deleted_at timestamptz
);
CREATE INDEX accounts_deleted ON accounts (deleted_at) WHERE deleted_at IS NOT NULL;

-- The scope: whoever reads accounts reads these.
CREATE VIEW live_accounts AS SELECT id, name, version FROM accounts WHERE deleted_at IS NULL;

CREATE TABLE audit (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    action text NOT NULL,
    subject text NOT NULL,
    actor text NOT NULL,
    request_id text NOT NULL,
    deployment text NOT NULL,
    node text NOT NULL,
    before jsonb,
    after jsonb
);
CREATE INDEX audit_subject ON audit (subject, id);
-- A request changes a subject once, however often it is repeated.
CREATE UNIQUE INDEX audit_request ON audit (request_id, action, subject);

-- Append only, for the owner too. To drop the trigger is a change of the schema, which the user that
-- serves cannot make.
CREATE FUNCTION audit_is_append_only() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'audit is append-only: % refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END;
$$;
CREATE TRIGGER audit_keeps_rows BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_keeps_all BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
