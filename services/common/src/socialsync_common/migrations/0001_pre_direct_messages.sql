-- Direct messages: tenants, accounts, contacts, conversations, messages, the outbox, and raw webhook events.
--
-- Roles: the owner runs migrations; `socialsync_service` is what services log in through, and row-level
-- security keeps it inside the tenants that a transaction names in `app.tenants`; `socialsync_system` cannot
-- log in and owns the few functions that must look across tenants, each of which returns ids only.

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'socialsync_service') THEN
    CREATE ROLE socialsync_service NOLOGIN NOBYPASSRLS;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'socialsync_system') THEN
    CREATE ROLE socialsync_system NOLOGIN NOBYPASSRLS;
  END IF;
END $$;
GRANT socialsync_system TO CURRENT_USER;

CREATE FUNCTION app_tenants() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT coalesce(nullif(current_setting('app.tenants', true), ''), '{}')::uuid[] $$;

CREATE TABLE tenants (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name       text NOT NULL UNIQUE,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id  uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  name       text NOT NULL,
  key_hash   bytea NOT NULL UNIQUE,          -- SHA-256: the key itself is shown once and never kept
  created_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz
);

CREATE TABLE accounts (
  id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id     uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  platform      text NOT NULL CHECK (platform IN ('whatsapp', 'instagram', 'messenger')),
  external_id   text NOT NULL,               -- phone number id, Instagram account id, Page id
  name          text NOT NULL,
  instructions  text NOT NULL DEFAULT '',
  token         bytea NOT NULL,              -- AES-GCM, bound to tenant and account
  status        text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'needs_reconnect')),
  status_reason text,
  created_at    timestamptz NOT NULL DEFAULT now(),
  UNIQUE (platform, external_id)
);
CREATE INDEX accounts_tenant ON accounts (tenant_id);

CREATE TABLE contacts (
  id         uuid PRIMARY KEY,
  tenant_id  uuid NOT NULL,
  account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
  name       text,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE contact_identities (
  account_id uuid NOT NULL,
  kind       text NOT NULL CHECK (kind IN ('phone', 'user_id', 'parent_user_id', 'scoped_id')),
  value      text NOT NULL,
  contact_id uuid NOT NULL REFERENCES contacts ON DELETE CASCADE,
  tenant_id  uuid NOT NULL,
  PRIMARY KEY (account_id, kind, value)
);
CREATE INDEX contact_identities_contact ON contact_identities (contact_id);

-- One conversation for each contact of an account: they share the id.
CREATE TABLE conversations (
  id              uuid PRIMARY KEY REFERENCES contacts ON DELETE CASCADE,
  tenant_id       uuid NOT NULL,
  account_id      uuid NOT NULL,
  handler         text NOT NULL DEFAULT 'ai' CHECK (handler IN ('ai', 'person')),
  handler_reason  text,
  handler_since   timestamptz,
  last_message_at timestamptz NOT NULL DEFAULT now(),
  failures        int NOT NULL DEFAULT 0,    -- attempts in a row that ended without an answer
  retry_at        timestamptz
) WITH (fillfactor = 80);
CREATE INDEX conversations_list ON conversations (tenant_id, last_message_at DESC, id);

CREATE TABLE messages (
  id                  bigint GENERATED ALWAYS AS IDENTITY,
  conversation_id     uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
  tenant_id           uuid NOT NULL,
  account_id          uuid NOT NULL,
  direction           text NOT NULL CHECK (direction IN ('in', 'out')),
  author              text NOT NULL CHECK (author IN ('contact', 'ai', 'person')),
  platform_message_id text NOT NULL,
  kind                text NOT NULL,
  text                text,
  attachments         jsonb,
  sent_at             timestamptz NOT NULL,  -- the platform's time
  received_at         timestamptz NOT NULL DEFAULT now(),
  awaiting_reply      boolean NOT NULL,
  batch_id            uuid,                  -- the reply that answered it
  skip_reason         text,                  -- or why none was sent
  status              text CHECK (status IN ('sent', 'delivered', 'read', 'played', 'failed')),
  error               jsonb,
  edited_at           timestamptz,
  revoked_at          timestamptz,
  raw                 jsonb,
  PRIMARY KEY (conversation_id, id),
  UNIQUE (account_id, platform_message_id)
) WITH (fillfactor = 85);
CREATE INDEX messages_awaiting_reply ON messages (conversation_id) WHERE awaiting_reply;

-- One row for each send of a reply. The text is committed here before the call, and never generated again.
CREATE TABLE outbox (
  id                  uuid PRIMARY KEY,
  tenant_id           uuid NOT NULL,
  account_id          uuid NOT NULL,
  conversation_id     uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
  batch_id            uuid NOT NULL,
  part                int NOT NULL,
  author              text NOT NULL CHECK (author IN ('ai', 'person')),
  text                text NOT NULL,
  model               text,
  status              text NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'sending', 'sent', 'retry', 'failed', 'unknown', 'superseded')),
  attempt             int NOT NULL DEFAULT 0,
  due_at              timestamptz,           -- retry: when; sending: end of the lease; unknown: when a person is told
  platform_message_id text,
  reason              text,
  created_at          timestamptz NOT NULL DEFAULT now(),
  updated_at          timestamptz NOT NULL DEFAULT now(),
  UNIQUE (batch_id, part)
) WITH (fillfactor = 70);
CREATE INDEX outbox_conversation ON outbox (conversation_id, created_at);
CREATE INDEX outbox_open ON outbox (coalesce(due_at, created_at)) WHERE status IN ('pending', 'sending', 'retry', 'unknown');

-- Everything that is not a message: kept raw, applied where it says something about one.
CREATE TABLE webhook_events (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id    uuid,                         -- null: no connected account was addressed
  account_id   uuid,
  platform     text NOT NULL,
  kind         text NOT NULL,
  action       text NOT NULL,
  receiving_id text,
  target_id    text,
  reason       text,
  raw          jsonb NOT NULL,
  received_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhook_events_tenant ON webhook_events (tenant_id, id DESC);

CREATE TABLE usage (
  tenant_id  uuid NOT NULL,
  account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
  month      date NOT NULL,
  kind       text NOT NULL CHECK (kind IN ('service_messages', 'ai_replies', 'input_tokens', 'output_tokens')),
  count      bigint NOT NULL,
  PRIMARY KEY (account_id, month, kind)
) WITH (fillfactor = 50);

DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['api_keys', 'accounts', 'contacts', 'contact_identities', 'conversations',
                              'messages', 'outbox', 'usage'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %I TO socialsync_service '
                   'USING (tenant_id = ANY ((SELECT app_tenants())::uuid[]))', name);
  END LOOP;
END $$;

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenants TO socialsync_service USING (id = ANY ((SELECT app_tenants())::uuid[]));

ALTER TABLE webhook_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON webhook_events TO socialsync_service
  USING (tenant_id = ANY ((SELECT app_tenants())::uuid[]))
  WITH CHECK (tenant_id IS NULL OR tenant_id = ANY ((SELECT app_tenants())::uuid[]));

GRANT SELECT, INSERT ON tenants, accounts, api_keys TO socialsync_service;
GRANT UPDATE (name, instructions, token, status, status_reason) ON accounts TO socialsync_service;
GRANT SELECT, INSERT, UPDATE ON contacts, contact_identities, conversations, messages, outbox, usage TO socialsync_service;
GRANT SELECT, INSERT ON webhook_events TO socialsync_service;

-- What has to look across tenants. Each function returns ids, never content.
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['api_keys', 'accounts', 'conversations', 'messages', 'outbox'] LOOP
    EXECUTE format('CREATE POLICY system ON %I FOR SELECT TO socialsync_system USING (true)', name);
  END LOOP;
END $$;
GRANT SELECT (id, tenant_id, key_hash, revoked_at) ON api_keys TO socialsync_system;
GRANT SELECT (id, tenant_id, platform, external_id) ON accounts TO socialsync_system;
GRANT SELECT (id, tenant_id, account_id, handler, retry_at) ON conversations TO socialsync_system;
GRANT SELECT (id, conversation_id, tenant_id, account_id, awaiting_reply, received_at) ON messages TO socialsync_system;
GRANT SELECT (id, tenant_id, status, due_at, created_at) ON outbox TO socialsync_system;

CREATE FUNCTION resolve_accounts(external_ids text[])
RETURNS TABLE (platform text, external_id text, account_id uuid, tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT a.platform, a.external_id, a.id, a.tenant_id FROM accounts a WHERE a.external_id = ANY (external_ids) $$;

CREATE FUNCTION conversation_tenant(conversation uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT c.tenant_id FROM conversations c WHERE c.id = conversation $$;

CREATE FUNCTION outbox_tenant(send uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT o.tenant_id FROM outbox o WHERE o.id = send $$;

CREATE FUNCTION api_key_tenant(hash bytea) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT k.tenant_id FROM api_keys k WHERE k.key_hash = hash AND k.revoked_at IS NULL $$;

-- Conversations with a message that waits for a reply, after `after` in id order.
CREATE FUNCTION unanswered_conversations(older_than interval, after uuid, max_rows int)
RETURNS TABLE (platform text, account_id uuid, contact_id uuid, message_ids bigint[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT a.platform, c.account_id, c.id, array_agg(m.id ORDER BY m.id)
    FROM messages m
    JOIN conversations c ON c.id = m.conversation_id
    JOIN accounts a ON a.id = c.account_id
   WHERE m.awaiting_reply AND m.conversation_id > after
     AND (c.retry_at IS NULL OR c.retry_at <= now())
   GROUP BY a.platform, c.account_id, c.id
  HAVING max(m.received_at) < now() - older_than
   ORDER BY c.id
   LIMIT max_rows
$$;

-- Sends that nobody is working on: never started, due again, or left behind by a lease that ran out.
CREATE FUNCTION open_sends(max_rows int)
RETURNS TABLE (send_id uuid, status text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT o.id, o.status
    FROM outbox o
   WHERE o.status IN ('pending', 'sending', 'retry', 'unknown')
     AND coalesce(o.due_at, o.created_at) < now() - CASE o.status WHEN 'pending' THEN interval '10 s' ELSE interval '0' END
   ORDER BY coalesce(o.due_at, o.created_at)
   LIMIT max_rows
$$;

DO $$
DECLARE signature text;
BEGIN
  FOREACH signature IN ARRAY ARRAY['resolve_accounts(text[])', 'conversation_tenant(uuid)', 'outbox_tenant(uuid)',
      'api_key_tenant(bytea)', 'unanswered_conversations(interval, uuid, int)', 'open_sends(int)'] LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO socialsync_system', signature);
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', signature);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO socialsync_service', signature);
  END LOOP;
END $$;
