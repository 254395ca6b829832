-- Scheduled posts: media, posts with one target for each account, token care, notices, and OAuth states.

ALTER TABLE accounts
  ADD COLUMN business_account_id text,                              -- WhatsApp Business Account: what is subscribed
  ADD COLUMN token_issued_at  timestamptz NOT NULL DEFAULT now(),   -- names this token among the account's tokens
  ADD COLUMN token_expires_at timestamptz,                          -- null: it does not expire
  ADD COLUMN checked_at       timestamptz,                          -- when token and subscription were last looked after
  ADD COLUMN subscribed       boolean,                              -- null: not looked at yet
  ADD COLUMN quota_used       int,                                  -- posts of the last 24 hours, as Meta counts them
  ADD COLUMN quota_total      int,
  ADD COLUMN quota_read_at    timestamptz;

CREATE TABLE media (
  id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id        uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  kind             text NOT NULL CHECK (kind IN ('image', 'video')),
  mime_type        text NOT NULL,
  size             bigint NOT NULL CHECK (size > 0),                 -- bytes
  sha256           bytea NOT NULL,
  width            int NOT NULL,
  height           int NOT NULL,
  duration_seconds double precision,                                 -- videos
  name             text NOT NULL,
  storage          text NOT NULL CHECK (storage IN ('postgres', 'supabase')),
  created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX media_list ON media (tenant_id, created_at DESC, id);
CREATE INDEX media_content ON media (tenant_id, sha256);

-- The content of media that are kept in Postgres, in pieces that are streamed.
CREATE TABLE media_chunks (
  media_id  uuid NOT NULL REFERENCES media ON DELETE CASCADE,
  number    int NOT NULL,
  tenant_id uuid NOT NULL,
  content   bytea NOT NULL,
  PRIMARY KEY (media_id, number)
);
ALTER TABLE media_chunks ALTER COLUMN content SET STORAGE EXTERNAL;  -- pictures and videos are compressed already

CREATE TABLE scheduled_posts (
  id            uuid PRIMARY KEY,
  tenant_id     uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  kind          text NOT NULL CHECK (kind IN ('text', 'image', 'carousel', 'video', 'reel', 'story')),
  text          text NOT NULL DEFAULT '',
  first_comment text,
  due_at        timestamptz NOT NULL,
  zone          text NOT NULL,                                       -- IANA: where the time was meant
  status        text NOT NULL DEFAULT 'queued'                       -- follows from the targets, see settle_posts
    CHECK (status IN ('queued', 'publishing', 'published', 'failed', 'needs_check', 'cancelled')),
  request_hash  bytea NOT NULL,                                      -- of the request that its Idempotency-Key came with
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
CREATE INDEX scheduled_posts_calendar ON scheduled_posts (tenant_id, due_at, id);

CREATE TABLE post_media (
  post_id   uuid NOT NULL REFERENCES scheduled_posts ON DELETE CASCADE,
  position  int NOT NULL,                                            -- from 1
  media_id  uuid NOT NULL REFERENCES media,
  tenant_id uuid NOT NULL,
  alt_text  text,
  PRIMARY KEY (post_id, position)
);
CREATE INDEX post_media_media ON post_media (media_id);

-- A post on one account. `phase` says how far the publishing has come, so that whoever takes over goes on from there.
CREATE TABLE post_targets (
  id                uuid PRIMARY KEY,
  tenant_id         uuid NOT NULL,
  post_id           uuid NOT NULL REFERENCES scheduled_posts ON DELETE CASCADE,
  account_id        uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
  due_at            timestamptz NOT NULL,                            -- the post's, or when a person said "publish it now"
  status            text NOT NULL DEFAULT 'queued'
    CHECK (status IN ('queued', 'publishing', 'published', 'failed', 'needs_check', 'cancelled')),
  phase             text CHECK (phase IN ('creating', 'container_ready', 'publish_called', 'confirmed')),
  container_ids     text[] NOT NULL DEFAULT '{}',                    -- in the order of their making; stored at once
  container_at      timestamptz,                                     -- when the first of them was made
  attempt           int NOT NULL DEFAULT 0,                          -- proven failures so far
  publishes         int NOT NULL DEFAULT 0,                          -- publish calls so far
  publish_called_at timestamptz,                                     -- committed before the call
  next_at           timestamptz,                                     -- when a worker shall look at it; null: never again
  lease_token       uuid,                                            -- the worker that has it
  lease_until       timestamptz,
  media_id          text,                                            -- the platform's id of the live post
  permalink         text,
  published_at      timestamptz,
  comment_status    text CHECK (comment_status IN ('pending', 'sending', 'sent', 'failed', 'unknown')),
  comment_attempt   int NOT NULL DEFAULT 0,
  comment_id        text,
  checked           int NOT NULL DEFAULT 0,                          -- quota and token looked at: 1 a day before, 2 minutes before
  warning           text,                                            -- what may keep it from going out
  reason            text,                                            -- why it failed, waits or has to be checked
  created_at        timestamptz NOT NULL DEFAULT now(),
  updated_at        timestamptz NOT NULL DEFAULT now(),
  UNIQUE (post_id, account_id)
) WITH (fillfactor = 60);
CREATE INDEX post_targets_next ON post_targets (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX post_targets_account ON post_targets (account_id, due_at);
CREATE INDEX post_targets_unchecked ON post_targets (due_at) WHERE checked < 2 AND status = 'queued';

-- A post's status: open as long as a target is, then the worst that became of them. Once for each statement, since
-- hundreds of posts go live in the same second; posts are locked in order, and after their targets.
CREATE FUNCTION settle(posts uuid[]) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM FROM scheduled_posts WHERE id = ANY (posts) ORDER BY id FOR NO KEY UPDATE;
  UPDATE scheduled_posts p SET status = s.status, updated_at = now()
    FROM (SELECT t.post_id, CASE
            WHEN bool_and(t.status IN ('queued', 'cancelled')) AND bool_or(t.status = 'queued') THEN 'queued'
            WHEN bool_or(t.status IN ('queued', 'publishing')) THEN 'publishing'
            WHEN bool_or(t.status = 'needs_check') THEN 'needs_check'
            WHEN bool_or(t.status = 'failed') THEN 'failed'
            WHEN bool_or(t.status = 'published') THEN 'published'
            ELSE 'cancelled' END AS status
            FROM post_targets t WHERE t.post_id = ANY (posts) GROUP BY t.post_id) s
   WHERE p.id = s.post_id AND p.status <> s.status;
END $$;
CREATE FUNCTION settle_posts() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE moved uuid[];
BEGIN
  IF TG_OP = 'UPDATE' THEN
    SELECT array_agg(DISTINCT a.post_id) INTO moved FROM after a JOIN before b ON b.id = a.id WHERE a.status <> b.status;
  ELSE
    SELECT array_agg(DISTINCT a.post_id) INTO moved FROM after a;
  END IF;
  IF moved IS NOT NULL THEN
    PERFORM settle(moved);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER settle_posts_changed AFTER UPDATE ON post_targets
  REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION settle_posts();
CREATE TRIGGER settle_posts_added AFTER INSERT ON post_targets
  REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION settle_posts();

-- What people have to know or do. Each is said once: a second one with the same key is dropped.
CREATE TABLE notices (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id   uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  account_id  uuid REFERENCES accounts ON DELETE CASCADE,
  post_id     uuid REFERENCES scheduled_posts ON DELETE CASCADE,
  kind        text NOT NULL CHECK (kind IN ('needs_reconnect', 'token_expires', 'subscription_lost', 'quota_low',
                                            'post_failed', 'post_needs_check', 'post_missed')),
  message     text NOT NULL,
  key         text NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  resolved_at timestamptz,
  UNIQUE (tenant_id, key)
);
CREATE INDEX notices_list ON notices (tenant_id, created_at DESC, id);

CREATE TABLE oauth_states (
  hash       bytea PRIMARY KEY,            -- SHA-256 of the state
  tenant_id  uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  platform   text NOT NULL,
  binding    bytea NOT NULL,               -- SHA-256 of what only the caller's browser holds
  caller     text NOT NULL,                -- who started: the same credentials may also finish
  expires_at timestamptz NOT NULL,
  used_at    timestamptz
);

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['media', 'media_chunks', 'scheduled_posts', 'post_media', 'post_targets', 'notices',
                              'oauth_states'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %I TO socialsync_service '
                   'USING (tenant_id = ANY ((SELECT app_tenants())::uuid[]))', name);
  END LOOP;
END $$;

-- Row-level security keeps each row in its tenant; these keep what a row refers to in the same one.
CREATE FUNCTION same_tenant() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE seen boolean;
BEGIN
  EXECUTE format('SELECT EXISTS (SELECT FROM %I r WHERE r.id = ($1).%I AND r.tenant_id = ($1).tenant_id)',
                 TG_ARGV[0], TG_ARGV[1]) INTO seen USING NEW;
  IF NOT seen THEN
    RAISE foreign_key_violation USING MESSAGE = format('%s: no such row of this tenant in %s', TG_ARGV[1], TG_ARGV[0]);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER same_tenant_account BEFORE INSERT ON post_targets
  FOR EACH ROW EXECUTE FUNCTION same_tenant('accounts', 'account_id');
CREATE TRIGGER same_tenant_post BEFORE INSERT ON post_targets
  FOR EACH ROW EXECUTE FUNCTION same_tenant('scheduled_posts', 'post_id');
CREATE TRIGGER same_tenant_media BEFORE INSERT ON post_media
  FOR EACH ROW EXECUTE FUNCTION same_tenant('media', 'media_id');
CREATE TRIGGER same_tenant_post BEFORE INSERT ON post_media
  FOR EACH ROW EXECUTE FUNCTION same_tenant('scheduled_posts', 'post_id');
CREATE TRIGGER same_tenant_media BEFORE INSERT ON media_chunks
  FOR EACH ROW EXECUTE FUNCTION same_tenant('media', 'media_id');

GRANT UPDATE (business_account_id, token_issued_at, token_expires_at, checked_at, subscribed,
              quota_used, quota_total, quota_read_at) ON accounts TO socialsync_service;
GRANT SELECT, INSERT, DELETE ON media, media_chunks, post_media, oauth_states TO socialsync_service;
GRANT SELECT, INSERT, UPDATE ON scheduled_posts, post_targets, notices TO socialsync_service;

-- What has to look across tenants. Each function returns ids and times, never content.
CREATE POLICY system ON post_targets TO socialsync_system USING (true);
CREATE POLICY system ON oauth_states TO socialsync_system USING (true);
CREATE POLICY system_claim ON accounts FOR UPDATE TO socialsync_system USING (true);
GRANT SELECT (id, tenant_id, account_id, due_at, status, phase, next_at, lease_until, checked) ON post_targets TO socialsync_system;
GRANT UPDATE (lease_token, lease_until, checked) ON post_targets TO socialsync_system;
GRANT SELECT (status, checked_at) ON accounts TO socialsync_system;
GRANT UPDATE (checked_at) ON accounts TO socialsync_system;
GRANT SELECT, UPDATE (used_at), DELETE ON oauth_states TO socialsync_system;

-- Claims targets that want a worker: their time has come, and nobody has them. Those of an account that must be
-- reconnected wait for it, until they are missed.
CREATE FUNCTION hand_over_targets(lease interval, grace interval, max_rows int)
RETURNS TABLE (target_id uuid, tenant_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE post_targets t SET lease_token = NULL, lease_until = now() + lease
    FROM (SELECT p.id FROM post_targets p JOIN accounts a ON a.id = p.account_id
           WHERE p.next_at <= now() AND (p.lease_until IS NULL OR p.lease_until < now())
             AND (a.status = 'active' OR p.due_at < now() - grace)
           ORDER BY p.next_at LIMIT max_rows FOR UPDATE OF p SKIP LOCKED) due
   WHERE t.id = due.id
  RETURNING t.id, t.tenant_id
$$;

-- Accounts whose quota and token are to be read, since a post of theirs is due within `horizon`; each post counts once a stage.
CREATE FUNCTION accounts_with_posts_ahead(horizon interval, stage int, max_rows int)
RETURNS TABLE (account_id uuid, tenant_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH ahead AS (
    UPDATE post_targets t SET checked = stage
      FROM (SELECT p.id FROM post_targets p
             WHERE p.status = 'queued' AND p.checked < stage AND p.due_at < now() + horizon AND p.due_at > now()
             ORDER BY p.due_at LIMIT max_rows FOR UPDATE SKIP LOCKED) due
     WHERE t.id = due.id
    RETURNING t.account_id, t.tenant_id
  )
  SELECT DISTINCT a.account_id, a.tenant_id FROM ahead a
$$;

-- Accounts that nobody has looked after for a while; each is given out once in that time.
CREATE FUNCTION accounts_to_care_for(every interval, max_rows int)
RETURNS TABLE (account_id uuid, tenant_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE accounts a SET checked_at = now()
    FROM (SELECT c.id FROM accounts c WHERE c.checked_at IS NULL OR c.checked_at < now() - every
           ORDER BY c.checked_at NULLS FIRST LIMIT max_rows FOR NO KEY UPDATE SKIP LOCKED) due
   WHERE a.id = due.id
  RETURNING a.id, a.tenant_id
$$;

-- Uses a state up, once, for whoever can show what it is bound to.
CREATE FUNCTION use_oauth_state(state bytea, for_platform text, holder_binding bytea, holder text)
RETURNS TABLE (tenant_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE oauth_states s SET used_at = now()
   WHERE s.hash = state AND s.platform = for_platform AND s.used_at IS NULL AND s.expires_at > now()
     AND (s.binding = holder_binding OR s.caller = holder)
  RETURNING s.tenant_id
$$;

DO $$
DECLARE signature text;
BEGIN
  FOREACH signature IN ARRAY ARRAY['hand_over_targets(interval, interval, int)',
      'accounts_with_posts_ahead(interval, int, int)', 'accounts_to_care_for(interval, int)',
      'use_oauth_state(bytea, text, bytea, text)'] LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO socialsync_system', signature);
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', signature);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO socialsync_service', signature);
  END LOOP;
END $$;
