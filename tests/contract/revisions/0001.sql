-- Ann wrote over REST half a year ago and was answered; her slot `tier` decides what she is told next.
INSERT INTO customers (assistant_id, created_at) VALUES ('labbot', '2026-01-05T09:00:00.000000+00:00');
INSERT INTO identities (assistant_id, customer_id, channel, account, external_id, created_at)
VALUES ('labbot', 1, 'rest', '', 'ann', '2026-01-05T09:00:00.000000+00:00');
INSERT INTO conversations (assistant_id, customer_id, identity_id, channel, account, thread, sender_id, status, language,
  last_seq, event_seq, waiting, claimable_at, fence, lease_owner, lease_until, created_at, updated_at)
VALUES ('labbot', 1, 1, 'rest', '', '', 'ann', 'open', 'en', 2, 7, 0, NULL, 1, NULL, NULL,
  '2026-01-05T09:00:00.000000+00:00', '2026-01-05T09:00:01.000000+00:00');
INSERT INTO inbox (assistant_id, conversation_id, customer_id, channel, account, external_id, seq, text, body, state,
  attempts, error, received_at, done_at)
VALUES ('labbot', 1, 1, 'rest', '', 'm1', 1, 'I''m a gölden customer 🙂',
  '{"metadata":{},"input_channel":"rest","language_hint":null}', 'done', 1, NULL,
  '2026-01-05T09:00:00.000000+00:00', '2026-01-05T09:00:01.000000+00:00');
INSERT INTO events (conversation_id, seq, customer_id, type, timestamp, body) VALUES
  (1, 1, 1, 'action', 1767603600.000001, '{"event":"action","timestamp":1767603600.000001,"name":"action_session_start","policy":null,"confidence":1.0,"action_text":null,"hide_rule_turn":false}'),
  (1, 2, 1, 'session_started', 1767603600.000002, '{"event":"session_started","timestamp":1767603600.000002}'),
  (1, 3, 1, 'action', 1767603600.000003, '{"event":"action","timestamp":1767603600.000003,"name":"action_listen","policy":null,"confidence":null,"action_text":null,"hide_rule_turn":false}'),
  (1, 4, 1, 'user', 1767603600.000004, '{"event":"user","timestamp":1767603600.000004,"text":"I''m a gölden customer 🙂","parse_data":{"intent":{"name":"say_tier","confidence":0.98},"entities":[{"entity":"tier","value":"gold","start":8,"end":14}],"text":"I''m a gölden customer 🙂","message_id":"1","metadata":{},"intent_ranking":[{"name":"say_tier","confidence":0.98}]},"input_channel":"rest","message_id":"1"}'),
  (1, 5, 1, 'slot', 1767603600.000005, '{"event":"slot","timestamp":1767603600.000005,"name":"tier","value":"gold"}'),
  (1, 6, 1, 'bot', 1767603600.000006, '{"event":"bot","timestamp":1767603600.000006,"metadata":{"utter_action":"utter_tier"},"text":"you are gold","data":{}}'),
  (1, 7, 1, 'action', 1767603600.000007, '{"event":"action","timestamp":1767603600.000007,"name":"action_listen","policy":"RulePolicy","confidence":1.0,"action_text":null,"hide_rule_turn":false}');
-- Folded by a program that is gone: its snapshots are of no use, the log is.
INSERT INTO snapshots (conversation_id, customer_id, event_seq, body) VALUES (1, 1, 7, '{"fold_version":0,"sender_id":"ann"}');
INSERT INTO outbox (assistant_id, conversation_id, customer_id, inbound_id, part, seq, channel, author, body, metadata,
  state, attempts, not_before, lease_owner, lease_until, external_ref, error, created_at, settled_at)
VALUES ('labbot', 1, 1, 1, 0, 2, 'rest', 'bot', '{"text":"you are gold"}', '{"model_version":"old"}', 'delivered', 0,
  NULL, NULL, NULL, NULL, NULL, '2026-01-05T09:00:01.000000+00:00', '2026-01-05T09:00:01.500000+00:00');
INSERT INTO predictions (assistant_id, conversation_id, customer_id, inbound_id, text, intent, ranking, confidence,
  margin, out_of_scope_score, is_out_of_scope, fallback, sentiment, entities, language, model_version, latency_ms,
  created_at)
VALUES ('labbot', 1, 1, 1, 'I''m a gölden customer 🙂', 'say_tier', '[{"name":"say_tier","confidence":0.98}]', 0.98, 0.98,
  0.1, false, false, 'neutral', '[{"entity":"tier","value":"gold","start":8,"end":14}]', 'en', 'old', 3.5,
  '2026-01-05T09:00:01.000000+00:00');
INSERT INTO labels (prediction_id, customer_id, intent, sentiment, labelled_by, created_at)
VALUES (1, 1, 'say_tier', NULL, 'eve', '2026-01-06T09:00:00.000000+00:00');
-- Bob asked for a person in Telegram, who never came; what the bot said to him could not be sent.
INSERT INTO customers (assistant_id, created_at) VALUES ('labbot', '2026-01-05T10:00:00.000000+00:00');
INSERT INTO identities (assistant_id, customer_id, channel, account, external_id, created_at)
VALUES ('labbot', 2, 'telegram', 'shop_bot', '7', '2026-01-05T10:00:00.000000+00:00');
INSERT INTO conversations (assistant_id, customer_id, identity_id, channel, account, thread, sender_id, status, language,
  last_seq, event_seq, waiting, claimable_at, fence, lease_owner, lease_until, created_at, updated_at)
VALUES ('labbot', 2, 2, 'telegram', 'shop_bot', '', 'telegram:7', 'waiting', NULL, 2, 4, 0, NULL, 1, NULL, NULL,
  '2026-01-05T10:00:00.000000+00:00', '2026-01-05T10:00:01.000000+00:00');
INSERT INTO inbox (assistant_id, conversation_id, customer_id, channel, account, external_id, seq, text, body, state,
  attempts, error, received_at, done_at)
VALUES ('labbot', 2, 2, 'telegram', 'shop_bot', '7:1', 1, 'a person please',
  '{"metadata":{"chat":7},"input_channel":"telegram","language_hint":"de"}', 'done', 1, NULL,
  '2026-01-05T10:00:00.000000+00:00', '2026-01-05T10:00:01.000000+00:00');
INSERT INTO events (conversation_id, seq, customer_id, type, timestamp, body) VALUES
  (2, 1, 2, 'action', 1767607200.1, '{"event":"action","timestamp":1767607200.1,"name":"action_session_start","policy":null,"confidence":1.0,"action_text":null,"hide_rule_turn":false}'),
  (2, 2, 2, 'session_started', 1767607200.2, '{"event":"session_started","timestamp":1767607200.2}'),
  (2, 3, 2, 'action', 1767607200.3, '{"event":"action","timestamp":1767607200.3,"name":"action_listen","policy":null,"confidence":null,"action_text":null,"hide_rule_turn":false}'),
  (2, 4, 2, 'handoff', 1767607200.5, '{"event":"handoff","timestamp":1767607200.5,"contact":"bob@example.com","reason":null}');
INSERT INTO outbox (assistant_id, conversation_id, customer_id, inbound_id, part, seq, channel, author, body, metadata,
  state, attempts, not_before, lease_owner, lease_until, external_ref, error, created_at, settled_at)
VALUES ('labbot', 2, 2, 2, 0, 2, 'telegram', 'bot', '{"text":"handing off"}', '{}', 'dead', 3, NULL, NULL, NULL, NULL,
  '403: blocked', '2026-01-05T10:00:01.000000+00:00', '2026-01-05T10:05:00.000000+00:00');
-- Cid's message was accepted; the process that had claimed it died.
INSERT INTO customers (assistant_id, created_at) VALUES ('labbot', '2026-01-05T11:00:00.000000+00:00');
INSERT INTO identities (assistant_id, customer_id, channel, account, external_id, created_at)
VALUES ('labbot', 3, 'rest', '', 'cid', '2026-01-05T11:00:00.000000+00:00');
INSERT INTO conversations (assistant_id, customer_id, identity_id, channel, account, thread, sender_id, status, language,
  last_seq, event_seq, waiting, claimable_at, fence, lease_owner, lease_until, created_at, updated_at)
VALUES ('labbot', 3, 3, 'rest', '', '', 'cid', 'open', NULL, 1, 0, 1, '2026-01-05T11:00:30.000000+00:00', 1,
  'box:4711:dead', '2026-01-05T11:00:30.000000+00:00', '2026-01-05T11:00:00.000000+00:00',
  '2026-01-05T11:00:00.000000+00:00');
INSERT INTO inbox (assistant_id, conversation_id, customer_id, channel, account, external_id, seq, text, body, state,
  attempts, error, received_at, done_at)
VALUES ('labbot', 3, 3, 'rest', '', 'm3', 1, '/goodbye', '{"metadata":{},"input_channel":"rest","language_hint":null}',
  'waiting', 1, NULL, '2026-01-05T11:00:00.000000+00:00', NULL);
INSERT INTO channel_state (assistant_id, key, value, updated_at)
VALUES ('labbot', 'wechat cursor', 'c-42', '2026-01-05T10:00:00.000000+00:00');
INSERT INTO leases (assistant_id, key, holder, until)
VALUES ('labbot', 'wechat token', 'box:4711', '2026-01-05T10:00:05.000000+00:00');
