-- Comments: what a business wants to happen with them, the posts that are watched, the comments, and what is said
-- or done about each of them.

CREATE TABLE comment_policies (
  account_id       uuid PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
  tenant_id        uuid NOT NULL,
  enabled          boolean NOT NULL,          -- false: comments are stored, and left alone
  review           boolean NOT NULL,          -- true: a person approves each answer before it leaves
  reply            text NOT NULL CHECK (reply IN ('public', 'private', 'both')),
  praise           text NOT NULL CHECK (praise IN ('answer', 'like', 'leave')),
  spam             text NOT NULL CHECK (spam IN ('leave', 'hide')),
  watch            text NOT NULL CHECK (watch IN ('published', 'all')),  -- posts that SocialSync published, or all that get comments
  within_hours     int NOT NULL CHECK (within_hours BETWEEN 1 AND 168),  -- older comments are left alone
  account_per_hour int NOT NULL CHECK (account_per_hour BETWEEN 1 AND 750),
  post_per_hour    int NOT NULL CHECK (post_per_hour BETWEEN 1 AND 750),
  author_per_hour  int NOT NULL CHECK (author_per_hour BETWEEN 1 AND 750),
  rules            jsonb NOT NULL,            -- what differs from the rules that come with the system
  updated_at       timestamptz NOT NULL DEFAULT now()
);

-- Posts that got comments, or whose comments are watched. `next_poll_at` is when they are read again.
CREATE TABLE monitored_posts (
  id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id       uuid NOT NULL,
  account_id      uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
  external_id     text NOT NULL,              -- Instagram media id, Page post id
  origin          text NOT NULL CHECK (origin IN ('published', 'chosen', 'seen')),
  monitored       boolean NOT NULL,
  monitored_since timestamptz,                -- older comments are left alone
  kind            text,
  caption         text,
  permalink       text,
  published_at    timestamptz,
  details_at      timestamptz,                -- when the platform was asked about the post
  pictures_at     timestamptz,                -- when its pictures were fetched, or could not be
  pictures_note   text,                       -- why there is none
  comments_count  int,                        -- as the platform tells
  unseen          int NOT NULL DEFAULT 0,     -- comments that it counts and never shows
  cursor          text,                       -- where reading older pages goes on
  last_comment_at timestamptz,
  next_poll_at    timestamptz,                -- null: not read
  poll_lease      timestamptz,                -- until when a worker reads it
  failures        int NOT NULL DEFAULT 0,     -- reads that failed in a row
  reason          text,                       -- why the last one failed
  created_at      timestamptz NOT NULL DEFAULT now(),
  UNIQUE (account_id, external_id)
) WITH (fillfactor = 70);
CREATE INDEX monitored_posts_list ON monitored_posts (tenant_id, created_at DESC, id);
CREATE INDEX monitored_posts_due ON monitored_posts (next_poll_at) WHERE next_poll_at IS NOT NULL;

-- A post's pictures as the model is shown them; forgotten when the post has become quiet.
CREATE TABLE post_pictures (
  post_id   uuid NOT NULL REFERENCES monitored_posts ON DELETE CASCADE,
  position  int NOT NULL,                     -- from 1
  tenant_id uuid NOT NULL,
  mime_type text NOT NULL,
  content   bytea NOT NULL,
  PRIMARY KEY (post_id, position)
);
ALTER TABLE post_pictures ALTER COLUMN content SET STORAGE EXTERNAL;

-- One row for each comment, however often it was told. `due_at` is when a worker shall look at it.
CREATE TABLE comments (
  id                 uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id          uuid NOT NULL,
  account_id         uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
  post_id            uuid REFERENCES monitored_posts ON DELETE CASCADE,  -- null: on somebody else's post
  external_id        text NOT NULL,
  parent_external_id text,                    -- the comment that it answers
  kind               text NOT NULL CHECK (kind IN ('comment', 'live', 'mention')),
  author_id          text,
  author_name        text,
  text               text,
  attachment         jsonb,
  source             text NOT NULL CHECK (source IN ('webhook', 'poll')),
  written_at         timestamptz NOT NULL,    -- the platform's time
  received_at        timestamptz NOT NULL DEFAULT now(),
  version            int NOT NULL DEFAULT 1,  -- rises with each edit
  edited_at          timestamptz,
  deleted_at         timestamptz,
  hidden             boolean NOT NULL DEFAULT false,
  status             text NOT NULL DEFAULT 'new'
    CHECK (status IN ('new', 'left', 'review', 'answering', 'answered', 'person', 'failed')),
  reason             text,                    -- a code, see docs/reference/comments.md
  detail             text,                    -- the same in words
  picture_note       text,                    -- why the model did not see the post's picture
  failures           int NOT NULL DEFAULT 0,  -- attempts in a row that came to nothing
  due_at             timestamptz DEFAULT now(),
  lease              uuid,                    -- the worker that has it
  lease_until        timestamptz,
  settled_at         timestamptz,             -- when it was left, answered or given to a person
  raw                jsonb,
  UNIQUE (account_id, external_id)
) WITH (fillfactor = 70);
CREATE INDEX comments_list ON comments (tenant_id, written_at DESC, id);
CREATE INDEX comments_status ON comments (tenant_id, status, written_at DESC, id);
CREATE INDEX comments_post ON comments (post_id, written_at);
CREATE INDEX comments_thread ON comments (account_id, parent_external_id) WHERE parent_external_id IS NOT NULL;
CREATE INDEX comments_due ON comments (account_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX comments_leased ON comments (account_id, lease_until) WHERE lease_until IS NOT NULL;

-- What is said or done about a comment: one row of each kind, so that nothing is said twice.
CREATE TABLE comment_sends (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id   uuid NOT NULL,
  account_id  uuid NOT NULL,
  post_id     uuid NOT NULL,
  comment_id  uuid NOT NULL REFERENCES comments ON DELETE CASCADE,
  kind        text NOT NULL CHECK (kind IN ('public_reply', 'private_reply', 'hide', 'like')),
  author      text NOT NULL CHECK (author IN ('ai', 'person')),
  author_id   text,                           -- whose comment it is about: what limits count
  text        text,
  model       text,
  version     int NOT NULL,                   -- of the comment, when this was written
  status      text NOT NULL
    CHECK (status IN ('draft', 'pending', 'sending', 'sent', 'retry', 'failed', 'unknown', 'superseded')),
  attempt     int NOT NULL DEFAULT 0,
  called_at   timestamptz,                    -- committed before the call
  platform_id text,
  reason      text,
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now(),
  UNIQUE (comment_id, kind)
) WITH (fillfactor = 70);
CREATE INDEX comment_sends_account ON comment_sends (account_id, created_at);
CREATE INDEX comment_sends_platform ON comment_sends (account_id, platform_id) WHERE platform_id IS NOT NULL;
CREATE INDEX comment_sends_open ON comment_sends (account_id) WHERE status IN ('sending', 'unknown');

-- How much of the platform's allowance an account's calls have used up, as its answers tell.
ALTER TABLE accounts
  ADD COLUMN calls_percent     real,          -- of what it allows in its window; 100: refused
  ADD COLUMN calls_read_at     timestamptz,
  ADD COLUMN calls_paused_until timestamptz;  -- comments are not read before
GRANT UPDATE (calls_percent, calls_read_at, calls_paused_until) ON accounts TO socialsync_service;

ALTER TABLE usage DROP CONSTRAINT usage_kind_check;
ALTER TABLE usage ADD CONSTRAINT usage_kind_check
  CHECK (kind IN ('service_messages', 'ai_replies', 'input_tokens', 'output_tokens', 'comment_answers'));

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['comment_policies', 'monitored_posts', 'post_pictures', 'comments', 'comment_sends'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %I TO socialsync_service '
                   'USING (tenant_id = ANY ((SELECT app_tenants())::uuid[]))', name);
  END LOOP;
END $$;
CREATE TRIGGER same_tenant_account BEFORE INSERT ON comment_policies
  FOR EACH ROW EXECUTE FUNCTION same_tenant('accounts', 'account_id');
CREATE TRIGGER same_tenant_account BEFORE INSERT ON monitored_posts
  FOR EACH ROW EXECUTE FUNCTION same_tenant('accounts', 'account_id');
CREATE TRIGGER same_tenant_post BEFORE INSERT ON post_pictures
  FOR EACH ROW EXECUTE FUNCTION same_tenant('monitored_posts', 'post_id');
CREATE TRIGGER same_tenant_account BEFORE INSERT ON comments
  FOR EACH ROW EXECUTE FUNCTION same_tenant('accounts', 'account_id');
CREATE TRIGGER same_tenant_comment BEFORE INSERT ON comment_sends
  FOR EACH ROW EXECUTE FUNCTION same_tenant('comments', 'comment_id');

GRANT SELECT, INSERT, UPDATE ON comment_policies, monitored_posts, comments, comment_sends TO socialsync_service;
GRANT SELECT, INSERT, DELETE ON post_pictures TO socialsync_service;

-- What has to look across tenants. Each function returns ids and times, never content.
CREATE POLICY system ON comments TO socialsync_system USING (true);
CREATE POLICY system ON monitored_posts TO socialsync_system USING (true);
GRANT SELECT (id, tenant_id, account_id, due_at, lease, lease_until) ON comments TO socialsync_system;
GRANT UPDATE (lease, lease_until) ON comments TO socialsync_system;
GRANT SELECT (id, tenant_id, account_id, next_poll_at, poll_lease) ON monitored_posts TO socialsync_system;
GRANT UPDATE (poll_lease) ON monitored_posts TO socialsync_system;
GRANT SELECT (calls_paused_until) ON accounts TO socialsync_system;

-- Claims comments that want a worker. Each account gets its fair share at once; what it has beyond that is crowded,
-- and handed over as far as there is `room`. `lost`: the lane is empty, so that what was handed over some seconds ago
-- and taken by nobody is not on its way any more.
CREATE FUNCTION hand_over_comments(lease_for interval, lost boolean, fair_share int, room int)
RETURNS TABLE (comment_id uuid, tenant_id uuid, crowded boolean)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  WITH due AS MATERIALIZED (
    SELECT d.id, d.place + busy.count AS place
      FROM accounts a
     CROSS JOIN LATERAL (SELECT count(*) FROM (SELECT FROM comments l WHERE l.account_id = a.id AND l.lease_until > now()
                                                LIMIT fair_share) leased) busy
     CROSS JOIN LATERAL (
       SELECT f.id, row_number() OVER (ORDER BY f.due_at) AS place
         FROM (SELECT c.id, c.due_at FROM comments c
                WHERE c.account_id = a.id AND c.due_at <= now()
                  AND (c.lease_until IS NULL OR c.lease_until < now()
                       OR (lost AND c.lease IS NULL AND c.lease_until < now() + lease_for - interval '10 seconds'))
                ORDER BY c.due_at LIMIT fair_share + room FOR NO KEY UPDATE OF c SKIP LOCKED) f) d
     WHERE a.status = 'active'
  ), chosen AS (
    SELECT due.id, due.place > fair_share AS crowded, due.place FROM due
     ORDER BY due.place LIMIT (SELECT count(*) FROM due WHERE due.place <= fair_share) + room
  )
  UPDATE comments c SET lease = NULL, lease_until = now() + lease_for
    FROM chosen WHERE c.id = chosen.id
  RETURNING c.id, c.tenant_id, chosen.crowded
$$;

-- Claims posts whose comments are to be read; not those of an account whose calls are used up or that must be reconnected.
CREATE FUNCTION hand_over_polls(lease_for interval, max_rows int)
RETURNS TABLE (post_id uuid, tenant_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE monitored_posts p SET poll_lease = now() + lease_for
    FROM (SELECT m.id FROM monitored_posts m JOIN accounts a ON a.id = m.account_id
           WHERE m.next_poll_at <= now() AND (m.poll_lease IS NULL OR m.poll_lease < now())
             AND a.status = 'active' AND (a.calls_paused_until IS NULL OR a.calls_paused_until < now())
           ORDER BY m.next_poll_at LIMIT max_rows FOR NO KEY UPDATE OF m SKIP LOCKED) due
   WHERE p.id = due.id
  RETURNING p.id, p.tenant_id
$$;

-- Whether somebody who comments is one of the connected accounts, of whatever tenant: two of them must not talk.
CREATE FUNCTION is_connected_author(on_platform text, author_id text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT EXISTS (SELECT FROM accounts a WHERE a.platform = on_platform AND a.external_id = author_id) $$;

DO $$
DECLARE signature text;
BEGIN
  FOREACH signature IN ARRAY ARRAY['hand_over_comments(interval, boolean, int, int)', 'hand_over_polls(interval, int)',
      'is_connected_author(text, text)'] LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO socialsync_system', signature);
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', signature);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO socialsync_service', signature);
  END LOOP;
END $$;
