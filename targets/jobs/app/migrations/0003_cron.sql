-- The leader's lease, and what cron did.

-- `epoch` is the fencing token: it grows with every change of the holder.
CREATE TABLE leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    epoch bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

-- The last window of each job that was run or given up. Windows are numbered from the epoch of Unix:
-- window n begins at n × period, by the clock of the database.
CREATE TABLE cron_state (
    job text PRIMARY KEY,
    last_window bigint NOT NULL
);

-- One row per run. Not unique, for the same reason as `effects`.
CREATE TABLE cron_runs (
    job text NOT NULL,
    time_window bigint NOT NULL,
    worker text NOT NULL,
    epoch bigint NOT NULL,
    -- The leader's loop time, in seconds, when it was about to commit.
    at_s double precision NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX cron_runs_job ON cron_runs (job, time_window);
