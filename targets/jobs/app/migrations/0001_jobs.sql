-- Jobs beside procrastinate's own tables: idempotency keys, limits, effects.

-- How many jobs of a queue may run at the same time, over all workers.
CREATE TABLE queues (
    name text PRIMARY KEY,
    most integer NOT NULL CHECK (most > 0)
);

-- What a client calls a job. It outlives the job, so that a late repetition makes no second one.
-- `job_id` has no foreign key: jobs are pruned before their keys are.
CREATE TABLE job_keys (
    key text PRIMARY KEY,
    job_id bigint,
    queue text NOT NULL REFERENCES queues (name),
    fingerprint text NOT NULL,
    unique_key text,
    failures integer NOT NULL DEFAULT 0,
    takeovers integer NOT NULL DEFAULT 0,
    delay_s double precision NOT NULL DEFAULT 0,
    error text,
    final text CHECK (final IN ('done', 'dead', 'cancelled')),
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((final IS NULL) = (finished_at IS NULL))
);
CREATE UNIQUE INDEX job_keys_job ON job_keys (job_id);
-- procrastinate's queueing_lock covers jobs that wait, and none that runs: one text could be held by
-- a running and by a waiting job, and if the running one failed, its retry would violate the index.
CREATE UNIQUE INDEX job_keys_unique ON job_keys (unique_key) WHERE finished_at IS NULL;
CREATE INDEX job_keys_finished ON job_keys (finished_at) WHERE finished_at IS NOT NULL;

-- The ledger: what jobs did. Nothing here is unique, on purpose: that there is one row per key is
-- the doing of the fenced transaction that writes it, and of nothing else.
CREATE TABLE effects (
    key text NOT NULL,
    queue text NOT NULL,
    attempt integer NOT NULL,
    worker text NOT NULL,
    -- The worker's loop time, in seconds, when the run began and when it was about to commit.
    started_s double precision NOT NULL,
    at_s double precision NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX effects_key ON effects (key);

CREATE INDEX jobs_waiting ON procrastinate_jobs (queue_name, priority DESC, id)
    WHERE status = 'todo';
CREATE INDEX jobs_running ON procrastinate_jobs (queue_name) WHERE status = 'doing';

-- procrastinate's fetch, within the limits of the queues. The rows of the queues are locked, always
-- in the same order, so that of two workers who see one free place one gets it. It must be called
-- in a transaction of its own: the locks go when it is answered, and no client can hold them.
-- `_own_only` counts the jobs of that worker alone.
CREATE FUNCTION jobs_fetch(_queues varchar[], _worker bigint, _own_only boolean)
    RETURNS procrastinate_jobs
    LANGUAGE plpgsql
AS $$
DECLARE
    _found procrastinate_jobs;
    _candidate record;
    _running integer;
BEGIN
    -- Mostly there is nothing, and nobody needs to wait for anybody to learn that.
    IF NOT EXISTS (
        SELECT FROM procrastinate_jobs
        WHERE status = 'todo' AND queue_name = ANY (_queues)
            AND (scheduled_at IS NULL OR scheduled_at <= now())
    ) THEN
        RETURN NULL;
    END IF;
    -- NO KEY: not in the way of those who enqueue, whose rows refer to these.
    PERFORM FROM queues WHERE name = ANY (_queues) ORDER BY name FOR NO KEY UPDATE;
    FOR _candidate IN
        SELECT queues.name, queues.most
        FROM queues CROSS JOIN LATERAL (
            SELECT priority, id FROM procrastinate_jobs
            WHERE status = 'todo' AND queue_name = queues.name
                AND (scheduled_at IS NULL OR scheduled_at <= now())
            ORDER BY priority DESC, id LIMIT 1
        ) AS foremost
        WHERE queues.name = ANY (_queues)
        ORDER BY foremost.priority DESC, foremost.id
    LOOP
        SELECT count(*) INTO _running FROM procrastinate_jobs
        WHERE status = 'doing' AND queue_name = _candidate.name
            AND (NOT _own_only OR worker_id = _worker);
        IF _running < _candidate.most THEN
            _found := procrastinate_fetch_job_v2(ARRAY[_candidate.name]::varchar[], _worker);
            IF _found.id IS NOT NULL THEN
                RETURN _found;
            END IF;
        END IF;
    END LOOP;
    RETURN NULL;
END;
$$;
